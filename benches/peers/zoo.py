"""ResNet-50, ViT-B/16 and their serial hybrid in Bifocal, PyTorch and ONNX Runtime: same weights, same input, same threads, alternating in one run.

    cargo build --release
    pip install torch torchvision timm transformers safetensors onnx onnxscript onnxruntime
    python benches/peers/zoo.py [--batch 1] [--threads 2] [--rounds 5] [--only resnet50]

Weights are random; nothing is downloaded. Prints medians, the ratio of Bifocal to each peer, and the largest difference of the logits from
PyTorch's. The bundled network is compared by bundle.py.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime
import torch
import torchvision
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "core/tests/reference"))
from parity import PROGRAM, SerialHybrid, make_bundle, randomise  # noqa: E402


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits


def networks():
    """Name, source, the model whose weights are saved, the model that is run."""
    resnet = torchvision.models.resnet50()
    yield "resnet50", "torchvision", resnet, resnet
    vit = ViTForImageClassification(ViTConfig(num_labels=1000, attn_implementation="sdpa"))
    yield "vit-base", "hf-vit", vit, Logits(vit)
    hybrid = SerialHybrid("sdpa")
    yield "serial-r50-vit-base", "torchvision + hf-vit", hybrid, hybrid


def onnx_session(model, x, folder, threads):
    torch.onnx.export(model, (x,), folder / "model.onnx", input_names=["x"], output_names=["y"], dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


def timed(run, runs):
    """Milliseconds, after two runs that are not timed."""
    result = []
    for index in range(runs + 2):
        start = time.perf_counter()
        run()
        if index >= 2:
            result.append((time.perf_counter() - start) * 1e3)
    return result


def compare(name, source, saved, model, args):
    randomise(saved, half=False)
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        bundle = make_bundle(saved, source, folder)
        command = [str(part) for part in (PROGRAM, "bench", "--json", "--model", bundle, "--batch", args.batch, "--runs", args.runs, "--threads", args.threads)]
        subprocess.run([*command, "--dump", str(folder / "dump.safetensors")], check=True, stdout=subprocess.DEVNULL)
        dumped = load_file(folder / "dump.safetensors")
        colour = json.loads((bundle / "metadata.json").read_text())["config"]["colour"]
        channel = lambda values: torch.tensor(values).reshape(1, 3, 1, 1)
        # From the program's grey input to what the network was made for.
        x = ((dumped["input"] / 4 + 0.5) - channel(colour["mean"])) / channel(colour["deviation"])
        x = x.float().contiguous()
        session = onnx_session(model, x, folder, args.threads)
        feed = {"x": x.numpy()}
        with torch.inference_mode():
            theirs = model(x)
        largest = float(theirs.abs().max())
        onnx_difference = float(numpy.abs(session.run(None, feed)[0] - theirs.numpy()).max()) / largest
        difference = float((dumped["class_logits"] - theirs).abs().max()) / largest

        def in_torch():
            with torch.inference_mode():
                model(x)

        times = {"Bifocal": [], "PyTorch": [], "ONNX Runtime": []}
        for _ in range(args.rounds):
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times["Bifocal"] += json.loads(line)["milliseconds"]
            times["PyTorch"] += timed(in_torch, args.runs)
            times["ONNX Runtime"] += timed(lambda: session.run(None, feed), args.runs)
    medians = {peer: statistics.median(values) for peer, values in times.items()}
    ours = medians["Bifocal"]
    print(
        f"| {name} | {args.batch} | {ours:.1f} | {medians['PyTorch']:.1f} | {medians['ONNX Runtime']:.1f} | {ours / medians['PyTorch']:.2f} | "
        f"{ours / medians['ONNX Runtime']:.2f} | {difference:.1e} | {onnx_difference:.1e} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each program in a round")
    parser.add_argument("--only", default="", help="a part of the names")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, {args.rounds * args.runs} runs each, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, medians in ms")
    print("| network | batch | Bifocal | PyTorch | ONNX Runtime | ratio to PyTorch | to ONNX Runtime | difference | ONNX Runtime's |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, source, saved, model in networks():
        if args.only in name:
            compare(name, source, saved, model, args)


if __name__ == "__main__":
    sys.exit(main())
