"""The bundled network in Bifocal and in PyTorch, and inference in ONNX Runtime and OpenVINO too: same weights, same input, same threads, alternating in one run.

    cargo build --release
    pip install torch numpy safetensors onnx onnxscript onnxruntime openvino
    python benches/peers/bundle.py [--batch 1] [--train] [--threads 2] [--rounds 5]

Prints medians, the ratios of Bifocal to the others, peak memories (of Bifocal, and of Python with all the others), and (inference) the largest difference of the outputs.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from runtimes import difference, header, peers, row, timed, versions
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/bifocal"


class Peer(torch.nn.Module):
    """The serial hybrid of core/src/model, written from its description with PyTorch's own layers."""

    def __init__(self, folder):
        super().__init__()
        self.config = json.loads((folder / "metadata.json").read_text())["config"]
        weights = load_file(folder / "model.safetensors")
        self.names = {name: name.replace(".", "/") for name in weights}
        for name, tensor in weights.items():
            self.register_parameter(self.names[name], torch.nn.Parameter(tensor.float()))

    def w(self, name):
        return self.get_parameter(self.names[name])

    def conv_norm(self, x, name, stride=1):
        weight = self.w(f"{name}.conv.weight")
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.group_norm(x, self.config["resnet"]["norm_groups"], self.w(f"{name}.norm.weight"), self.w(f"{name}.norm.bias"), 1e-5)

    def conv1(self, x, name):
        return F.conv2d(x, self.w(f"{name}.weight"), self.w(f"{name}.bias"))

    def linear(self, x, name):
        return F.linear(x, self.w(f"{name}.weight"), self.w(f"{name}.bias"))

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w(f"{name}.weight"), self.w(f"{name}.bias"), 1e-6)

    @staticmethod
    def add(fine, coarse):
        return fine + F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv_norm(x, "resnet.stem", 2)), 3, 2, 1)
        stages = []
        for stage, blocks in enumerate(self.config["resnet"]["blocks"]):
            for block in range(blocks):
                name = f"resnet.layer{stage + 1}.{block}"
                stride = 2 if block == 0 and stage > 0 else 1
                inner = F.relu(self.conv_norm(x, f"{name}.conv1", stride))
                inner = self.conv_norm(inner, f"{name}.conv2")
                shortcut = self.conv_norm(x, f"{name}.downsample", stride) if f"{name}.downsample.conv.weight" in self.names else x
                x = F.relu(inner + shortcut)
            stages.append(x)
        grid = self.config["transformer"]["grid"]
        tokens = self.linear(F.adaptive_avg_pool2d(x, grid).flatten(2).transpose(1, 2), "patch_embed.proj")
        tokens = torch.cat([self.w("vit.cls_token").expand(len(x), -1, -1), tokens + self.w("vit.pos_embed")], 1)
        heads = self.config["transformer"]["heads"]
        for layer in range(self.config["transformer"]["depth"]):
            name = f"vit.blocks.{layer}"
            qkv = self.linear(self.norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv")
            q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            tokens = tokens + self.linear(mixed, f"{name}.attn.proj")
            hidden = F.gelu(self.linear(self.norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1"))
            tokens = tokens + self.linear(hidden, f"{name}.mlp.fc2")
        tokens = self.norm(tokens, "vit.norm")
        cls, token_map = tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, grid)

        coarse = self.add(self.conv1(stages[-1], "heads.lesion.coarse"), self.conv1(token_map, "heads.lesion.context"))
        lesion = self.add(self.conv1(stages[1], "heads.lesion.fine"), coarse)
        lesion = F.relu(self.conv_norm(F.relu(self.conv_norm(lesion, "heads.lesion.merge")), "heads.lesion.refine"))
        lesion = self.conv1(lesion, "heads.lesion.out")

        organ = self.add(self.conv1(stages[1], "heads.organ.guide2"), self.conv1(token_map, "heads.organ.tokens"))
        organ = self.conv1(F.relu(self.conv_norm(organ, "heads.organ.merge2")), "heads.organ.narrow")
        organ = F.relu(self.conv_norm(self.add(self.conv1(stages[0], "heads.organ.guide1"), organ), "heads.organ.merge1"))
        organ = self.conv1(organ, "heads.organ.out")

        flat = lesion.flatten(2) * 2
        pooled = (flat.logsumexp(-1) - torch.log(torch.tensor(float(flat.shape[-1])))) / 2
        return lesion, organ, self.linear(cls, "heads.class.cls") + pooled * self.w("heads.class.evidence")


def training_step(model, x):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05, foreach=True)
    parameters = list(model.parameters())
    averages = [p.detach().clone() for p in parameters]

    def step():
        optimizer.zero_grad()
        (sum(y.sum() for y in model(x)) * 1e-3).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 0.001)

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="chest-opacity")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each program in a round")
    parser.add_argument("--train", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    folder, scratch = ROOT / "assets/models" / args.model, pathlib.Path(tempfile.mkdtemp())
    dump = scratch / "dump.safetensors"
    command = [PROGRAM, "bench", "--json", "--model", folder, "--batch", args.batch, "--runs", args.runs, "--threads", args.threads]
    command = [str(part) for part in command]
    subprocess.run(command + ["--dump", str(dump)], check=True, stdout=subprocess.DEVNULL)
    dumped = load_file(dump)
    model = Peer(folder).eval()
    x = dumped["input"]
    if args.train:
        command.append("--train")
        runs = {"PyTorch": training_step(model, x)}
    else:
        runs = peers(model, x, scratch, args.threads)
        names = ["lesion_logits", "organ_logits", "class_logits"]
        largest = difference([dumped[name].numpy() for name in names], runs["PyTorch"]())
    times, peak = {"Bifocal": [], **{peer: [] for peer in runs}}, 0.0
    for _ in range(args.rounds):
        line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        times["Bifocal"] += line["milliseconds"]
        peak = max(peak, line["peak_mib"] or 0.0)
        for peer, run in runs.items():
            times[peer] += timed(run, args.runs)
    print(f"{args.threads} threads, {args.rounds * args.runs} runs each, {versions()}, medians in ms")
    if args.train:
        ours, theirs = statistics.median(times["Bifocal"]), statistics.median(times["PyTorch"])
        print(f"training step, batch {args.batch}: Bifocal {ours:.1f} ms, PyTorch {theirs:.1f} ms, ratio {ours / theirs:.2f}")
    else:
        print(header(runs))
        print(row(args.model, args.batch, times, [largest]))
    print(f"peak memory: Bifocal {peak:.0f} MiB, Python with its libraries {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    sys.exit(main())
