"""Expected explanations of a tiny serial hybrid: the fixture of core/tests/explain_parity.rs.

    pip install torch numpy safetensors grad-cam==1.5.5
    python core/tests/reference/explain.py

The network is restated with PyTorch's own layers. Class activation maps come from the package grad-cam; rollout and relevance are restated
from the papers (Abnar and Zuidema, 2020; Chefer, Gur and Wolf, 2021). Weights are half precision in the file and used as such.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "fixtures/explain/serial.safetensors"
CONFIG = {
    "topology": "serial",
    "input_size": 32,
    "resnet": {"channels": [4, 6], "blocks": [1, 1], "norm_groups": 2},
    "transformer": {"dimension": 8, "depth": 2, "heads": 2, "mlp_ratio": 2, "grid": [4, 4]},
    "head_channels": 4,
    "lesions": ["a", "b"],
    "organs": ["c"],
}
CELLS = [(1, 2), (3, 0)]


def weights(generator):
    """Random weights by the names of the bundle."""
    table = {}

    def put(name, *shape, scale=None, shift=0.0):
        fan_in = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 1
        scale = scale or fan_in**-0.5
        table[name] = (torch.randn(shape, generator=generator) * scale + shift).half()

    def conv_norm(name, inputs, outputs, kernel):
        put(f"{name}.conv.weight", outputs, inputs, kernel, kernel)
        put(f"{name}.norm.weight", outputs, scale=0.2, shift=1.0)
        put(f"{name}.norm.bias", outputs, scale=0.2)

    def affine(name, inputs, outputs, *kernel):
        put(f"{name}.weight", outputs, inputs, *kernel)
        put(f"{name}.bias", outputs, scale=0.2)

    def norm(name, size):
        put(f"{name}.weight", size, scale=0.2, shift=1.0)
        put(f"{name}.bias", size, scale=0.2)

    channels, vit, head = CONFIG["resnet"]["channels"], CONFIG["transformer"], CONFIG["head_channels"]
    d = vit["dimension"]
    conv_norm("resnet.stem", 1, channels[0], 7)
    inputs = channels[0]
    for stage, outputs in enumerate(channels):
        name = f"resnet.layer{stage + 1}.0"
        conv_norm(f"{name}.conv1", inputs, outputs, 3)
        conv_norm(f"{name}.conv2", outputs, outputs, 3)
        if stage > 0:
            conv_norm(f"{name}.downsample", inputs, outputs, 1)
        inputs = outputs
    affine("patch_embed.proj", channels[-1], d)
    put("vit.cls_token", 1, 1, d, scale=0.5)
    put("vit.pos_embed", vit["grid"][0] * vit["grid"][1], d, scale=0.5)
    for layer in range(vit["depth"]):
        name = f"vit.blocks.{layer}"
        norm(f"{name}.norm1", d)
        affine(f"{name}.attn.qkv", d, 3 * d)
        affine(f"{name}.attn.proj", d, d)
        norm(f"{name}.norm2", d)
        affine(f"{name}.mlp.fc1", d, vit["mlp_ratio"] * d)
        affine(f"{name}.mlp.fc2", vit["mlp_ratio"] * d, d)
    norm("vit.norm", d)
    affine("heads.lesion.fine", channels[1], head, 1, 1)
    affine("heads.lesion.coarse", channels[-1], head, 1, 1)
    affine("heads.lesion.context", d, head, 1, 1)
    conv_norm("heads.lesion.merge", head, head, 3)
    conv_norm("heads.lesion.refine", head, head, 3)
    affine("heads.lesion.out", head, len(CONFIG["lesions"]), 1, 1)
    affine("heads.organ.tokens", d, head, 1, 1)
    affine("heads.organ.guide2", channels[1], head, 1, 1)
    conv_norm("heads.organ.merge2", head, head, 3)
    affine("heads.organ.narrow", head, channels[0], 1, 1)
    affine("heads.organ.guide1", channels[0], channels[0], 1, 1)
    conv_norm("heads.organ.merge1", channels[0], channels[0], 3)
    affine("heads.organ.out", channels[0], len(CONFIG["organs"]), 1, 1)
    affine("heads.class.cls", d, len(CONFIG["lesions"]))
    put("heads.class.evidence", len(CONFIG["lesions"]), scale=0.3, shift=1.0)
    return table


class Hybrid(torch.nn.Module):
    """Class logits, or lesion logits where `regions` is set. Stages go through identities, so that they can be hooked."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.ParameterDict({name.replace(".", "/"): tensor.float() for name, tensor in table.items()})
        self.stages = torch.nn.ModuleList(torch.nn.Identity() for _ in CONFIG["resnet"]["channels"])
        self.regions = False
        self.attention = []

    def w(self, name):
        return self.table[name.replace(".", "/")]

    def conv_norm(self, x, name, stride=1):
        weight = self.w(f"{name}.conv.weight")
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.group_norm(x, CONFIG["resnet"]["norm_groups"], self.w(f"{name}.norm.weight"), self.w(f"{name}.norm.bias"), 1e-5)

    def conv1(self, x, name):
        return F.conv2d(x, self.w(f"{name}.weight"), self.w(f"{name}.bias"))

    def linear(self, x, name):
        return F.linear(x, self.w(f"{name}.weight"), self.w(f"{name}.bias"))

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w(f"{name}.weight"), self.w(f"{name}.bias"), 1e-6)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv_norm(x, "resnet.stem", 2)), 3, 2, 1)
        stages = []
        for stage, hook in enumerate(self.stages):
            name, stride = f"resnet.layer{stage + 1}.0", 2 if stage > 0 else 1
            inner = self.conv_norm(F.relu(self.conv_norm(x, f"{name}.conv1", stride)), f"{name}.conv2")
            x = hook(F.relu(inner + (self.conv_norm(x, f"{name}.downsample", stride) if stage > 0 else x)))
            stages.append(x)
        grid, heads = CONFIG["transformer"]["grid"], CONFIG["transformer"]["heads"]
        tokens = self.linear(F.adaptive_avg_pool2d(x, grid).flatten(2).transpose(1, 2), "patch_embed.proj")
        tokens = torch.cat([self.w("vit.cls_token").expand(len(x), -1, -1), tokens + self.w("vit.pos_embed")], 1)
        self.attention = []
        for layer in range(CONFIG["transformer"]["depth"]):
            name = f"vit.blocks.{layer}"
            qkv = self.linear(self.norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv")
            q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            attention = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            attention.retain_grad()
            self.attention.append(attention)
            tokens = tokens + self.linear((attention @ v).transpose(1, 2).flatten(2), f"{name}.attn.proj")
            tokens = tokens + self.linear(F.gelu(self.linear(self.norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
        tokens = self.norm(tokens, "vit.norm")
        cls, token_map = tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
        coarse = self.conv1(stages[-1], "heads.lesion.coarse")
        coarse = coarse + F.interpolate(self.conv1(token_map, "heads.lesion.context"), size=coarse.shape[-2:], mode="bilinear", align_corners=False)
        fine = self.conv1(stages[1], "heads.lesion.fine")
        lesion = fine + F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        lesion = F.relu(self.conv_norm(F.relu(self.conv_norm(lesion, "heads.lesion.merge")), "heads.lesion.refine"))
        lesion = self.conv1(lesion, "heads.lesion.out")
        if self.regions:
            return lesion
        flat = lesion.flatten(2) * 2
        pooled = (flat.logsumexp(-1) - torch.log(torch.tensor(float(flat.shape[-1])))) / 2
        return self.linear(cls, "heads.class.cls") + pooled * self.w("heads.class.evidence")


def rollout(attention):
    """Abnar and Zuidema: mean over heads, identity for the residual path, rows normalised, multiplied up."""
    joint = None
    for layer in attention:
        mixed = layer[0].mean(0) + torch.eye(layer.shape[-1])
        mixed = mixed / mixed.sum(-1, keepdim=True)
        joint = mixed if joint is None else mixed @ joint
    return joint


def relevance(model, x, lesion):
    """Chefer, Gur and Wolf, equations 5 and 6: R <- R + E_h[(dy/dA * A)^+] R."""
    model.zero_grad()
    model(x)[0, lesion].backward()
    r = torch.eye(model.attention[0].shape[-1])
    for layer in model.attention:
        r = r + (layer.grad * layer)[0].clamp(min=0).mean(0) @ r
    return r


def main():
    generator = torch.Generator().manual_seed(20260102)
    table = weights(generator)
    model = Hybrid(table).eval()
    x = torch.randn((1, 1, 32, 32), generator=generator).half().float()
    out = {f"weights/{name}": tensor for name, tensor in table.items()}
    out["input"] = x.half()
    out["class_logits"] = model(x).detach()
    targets = {
        "image": lambda output: output[1],
        "region": lambda output: sum(output[0, row, column] for row, column in CELLS) / len(CELLS),
    }
    for target, function in targets.items():
        model.regions = target == "region"
        for stage, layer in enumerate(model.stages):
            for name, method in {"grad_cam": GradCAM, "hires_cam": HiResCAM, "layer_cam": LayerCAM}.items():
                with method(model=model, target_layers=[layer]) as cam:
                    cam_map = torch.from_numpy(cam(input_tensor=x, targets=[function])[0])
                out[f"cam/{target}/{stage + 1}/{name}"] = cam_map.half()
    model.regions = False
    for lesion in range(2):
        out[f"relevance/{lesion}"] = relevance(model, x, lesion).detach()
    model(x)
    out["rollout"] = rollout(model.attention).detach()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"config": json.dumps(CONFIG), "cells": json.dumps(CELLS)}
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, OUT, metadata)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
