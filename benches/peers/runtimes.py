"""Runtimes that a PyTorch model is also run in, from one ONNX file: ONNX Runtime, and OpenVINO where it is installed."""

import statistics
import time

import numpy
import onnxruntime
import torch


def peers(model, x, folder, threads):
    """Name of each peer, and a function that runs `model` on `x` in it and returns its outputs as arrays; PyTorch first."""
    file = folder / "model.onnx"
    torch.onnx.export(model, (x,), file, input_names=["x"], dynamo=True, verbose=False)
    array = x.numpy()

    def in_torch():
        with torch.inference_mode():
            outputs = model(x)
        return [y.numpy() for y in (outputs if isinstance(outputs, (tuple, list)) else (outputs,))]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found = {"PyTorch": in_torch, "ONNX Runtime": lambda: session.run(None, {"x": array})}
    try:
        import openvino
    except ImportError:
        return found
    wish = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = openvino.compile_model(file, "CPU", wish)
    found["OpenVINO"] = lambda: list(compiled({"x": array}).values())
    return found


def versions():
    text = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    try:
        import openvino

        return f"{text}, openvino {openvino.__version__.split('-')[0]}"
    except ImportError:
        return text


def timed(run, runs):
    """Milliseconds, after two runs that are not timed."""
    result = []
    for index in range(runs + 2):
        start = time.perf_counter()
        run()
        if index >= 2:
            result.append((time.perf_counter() - start) * 1e3)
    return result


def difference(ours, theirs):
    """Largest difference, as a share of the largest value."""
    return max(float(numpy.abs(a - b).max() / numpy.abs(b).max()) for a, b in zip(ours, theirs))


def row(name, batch, times, differences):
    """A line of a Markdown table: medians, ratios of Bifocal to each peer, differences from PyTorch's outputs."""
    medians = {peer: statistics.median(values) for peer, values in times.items()}
    ours = medians.pop("Bifocal")
    cells = [name, str(batch), f"{ours:.1f}", *(f"{theirs:.1f} ({ours / theirs:.2f})" for theirs in medians.values())]
    cells += [f"{ours / min(medians.values()):.2f}", *(f"{value:.0e}" for value in differences)]
    return f"| {' | '.join(cells)} |"


def header(peers):
    columns = ["network", "batch", "Bifocal", *(f"{peer} (ratio)" for peer in peers), "ratio to the fastest", "difference from PyTorch's outputs"]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
