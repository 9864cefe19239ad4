"""ResNet-50, ViT-B/16 and their serial hybrid in Bifocal, PyTorch, ONNX Runtime and OpenVINO: same weights, same input, same threads, alternating in one run.

    cargo build --release
    pip install torch torchvision timm transformers safetensors onnx onnxscript onnxruntime openvino
    python benches/peers/zoo.py [--batch 1] [--threads 2] [--rounds 5] [--only resnet50]

Weights are random; nothing is downloaded. Prints medians in milliseconds, the ratio of Bifocal to each peer, and the largest difference of the logits from
PyTorch's. The bundled network is compared by bundle.py.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import load_file
from runtimes import difference, header, peers, row, timed, versions
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
        runs = peers(model, x, folder, args.threads)
        theirs = runs["PyTorch"]()
        times, peak = {"Bifocal": [], **{peer: [] for peer in runs}}, 0.0
        for _ in range(args.rounds):
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            line = json.loads(line)
            times["Bifocal"] += line["milliseconds"]
            peak = max(peak, line["peak_mib"] or 0.0)
            for peer, run in runs.items():
                times[peer] += timed(run, args.runs)
    print(row(name, args.batch, times, [difference([dumped["class_logits"].numpy()], theirs)]), f"Bifocal's peak memory {peak:.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each program in a round")
    parser.add_argument("--only", default="", help="a part of the names")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, {args.rounds * args.runs} runs each, {versions()}, medians in ms", flush=True)
    print(header(["PyTorch", "ONNX Runtime", *(["OpenVINO"] if "openvino" in versions() else [])]), flush=True)
    for name, source, saved, model in networks():
        if args.only in name:
            compare(name, source, saved, model, args)


if __name__ == "__main__":
    sys.exit(main())
