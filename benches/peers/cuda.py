"""PyTorch on an NVIDIA GPU beside `bifocal bench --device cuda`, alternating: ResNet-50, ViT-B/16 and their serial hybrid.

    python3 benches/peers/cuda.py BIFOCAL [--batch 1,8,64] [--rounds 3]

Random weights: only time is compared here; that the operations give the CPU's numbers is tested by `nn::cuda`. f32 means products in full precision on both
sides, tf32 rounds them in both, bf16 stores everything in it. PyTorch runs eagerly, in channels-last for convolutions where that is its fast way (bf16).
"""

import argparse
import json
import statistics
import subprocess
import time

import torch
import torchvision


class Serial(torch.nn.Module):
    """ResNet-50 without its head, then ViT-B over its cells."""

    def __init__(self):
        super().__init__()
        resnet = torchvision.models.resnet50()
        self.resnet = torch.nn.Sequential(*list(resnet.children())[:-2])
        self.project = torch.nn.Conv2d(2048, 768, 1)
        vit = torchvision.models.vit_b_16()
        self.layers, self.norm = vit.encoder.layers, vit.encoder.ln
        self.cls = torch.nn.Parameter(torch.zeros(1, 1, 768))
        self.positions = torch.nn.Parameter(torch.randn(1, 50, 768) * 0.02)
        self.head = torch.nn.Linear(768, 1000)

    def forward(self, x):
        tokens = self.project(self.resnet(x)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.head(self.norm(self.layers(tokens))[:, 0])


NETWORKS = {"resnet50": torchvision.models.resnet50, "vit-base": torchvision.models.vit_b_16, "serial-r50-vit-base": Serial}


def torch_ms(name, batch, precision, train, runs):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    model = NETWORKS[name]().cuda()
    x = torch.randn(batch, 3, 224, 224, device="cuda")
    if precision == "bf16":
        model, x = model.bfloat16().to(memory_format=torch.channels_last), x.bfloat16().contiguous(memory_format=torch.channels_last)
    model.train(train)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step():
        if not train:
            with torch.inference_mode():
                return model(x).float().cpu()
        optimizer.zero_grad(set_to_none=True)
        loss = model(x).sum() * 1e-3
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        return loss.item()

    times = []
    for index in range(runs + 5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if index >= 5:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def bifocal_ms(program, name, batch, precision, train, runs):
    command = [program, "bench", "--preset", name, "--batch", str(batch), "--device", "cuda", "--precision", precision, "--runs", str(runs), "--json"]
    done = subprocess.run(command + (["--train"] if train else []), capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines or not lines[0]["device"].startswith("CUDA"):
        print(name, batch, precision, "bifocal:", done.stderr.strip()[-400:])
        return float("nan")
    return lines[0]["median_ms"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--precision", default="f32,tf32,bf16")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--train", action="store_true")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {'training step' if args.train else 'inference'}, median ms")
    print("| network | precision | batch | Bifocal | PyTorch | ratio |\n|---|---|---|---|---|---|")
    for name in NETWORKS:
        for precision in args.precision.split(","):
            for batch in map(int, args.batch.split(",")):
                ours, theirs = [], []
                for _ in range(args.rounds):
                    ours.append(bifocal_ms(args.program, name, batch, precision, args.train, args.runs))
                    theirs.append(torch_ms(name, batch, precision, args.train, args.runs))
                a, b = statistics.median(ours), statistics.median(theirs)
                print(f"| {name} | {precision} | {batch} | {a:.2f} | {b:.2f} | {a / b:.2f} |", flush=True)


if __name__ == "__main__":
    main()
