"""Random weights of other libraries and what those libraries compute with them: what core/tests/parity.rs compares with.

    pip install torch torchvision timm transformers safetensors
    python core/tests/reference/parity.py --tiny     # writes core/tests/fixtures/parity
    cargo build --release
    python core/tests/reference/parity.py --full     # sizes as published, in a temporary folder, through `bifocal model import`

Nothing is downloaded: weights are random. --full prints the largest difference of each tensor, relative to its largest value, and how far both
programs are from PyTorch in double precision: what rounding alone does.
"""

import argparse
import functools
import pathlib
import subprocess
import sys
import tempfile

import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file
from timm.layers import StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import ViTConfig, ViTForImageClassification

ROOT = pathlib.Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "core/tests/fixtures/parity"
PROGRAM = ROOT / "target/release/bifocal"


def randomise(model, half):
    """Weights and statistics away from their start, where many errors would not show; rounded to half precision where files are kept."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.dim() <= 1:
            tensor.copy_(float(name.endswith("weight")) + 0.2 * noise)
        elif "pos_embed" in name or "position_embeddings" in name or "token" in name:
            tensor.copy_(0.5 * noise)
        else:
            # As wide as keeps the variance.
            tensor.copy_(noise * (1.5 / tensor[0].numel()) ** 0.5)
        if half:
            tensor.copy_(tensor.half().float())
    return model.eval()


HOOKS = []


def hook(store, name, module, pick=lambda output: output):
    HOOKS.append(module.register_forward_hook(lambda _m, _i, output: store.__setitem__(name, pick(output).detach().clone())))


def run(model, x, hooks, **arguments):
    """The tensors that hooks store in a pass."""
    store = {}
    hooks(store, model)
    with torch.inference_mode():
        store["class_logits"] = model(x, **arguments)
    return store


def resnet_hooks(store, model):
    for stage in range(1, 5):
        hook(store, f"stage{stage}", getattr(model, f"layer{stage}"))
    hook(store, "cls", model.avgpool, lambda y: y.flatten(1))


def timm_hooks(store, model):
    for index, block in enumerate(model.blocks):
        block.attn.fused_attn = False
        hook(store, f"attention{index + 1}", block.attn.attn_drop)
    hook(store, "cls", model.norm, lambda y: y[:, 0])
    hook(store, "tokens", model.norm, lambda y: y[:, model.num_prefix_tokens :])


def hybrid_hooks(store, model):
    timm_hooks(store, model)
    for index, stage in enumerate(model.patch_embed.backbone.stages):
        hook(store, f"stage{index + 1}", stage)


class Logits(torch.nn.Module):
    """Hugging Face's ViT with a tensor for output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, **arguments):
        output = self.model(x, output_attentions=True, output_hidden_states=True, **arguments)
        self.attentions = output.attentions
        return output.logits


def run_hf(model, x, **arguments):
    store = {}
    hook(store, "cls", model.vit.layernorm, lambda y: y[:, 0])
    hook(store, "tokens", model.vit.layernorm, lambda y: y[:, 1:])
    wrapped = Logits(model)
    with torch.inference_mode():
        store["class_logits"] = wrapped(x, **arguments)
    for index, attention in enumerate(wrapped.attentions):
        store[f"attention{index + 1}"] = attention
    return store


class TinyResNet(ResNet):
    """torchvision's ResNet with a sixteenth of its channels."""

    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:
            self.inplanes = 4
            self.conv1 = torch.nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(4)
        return super()._make_layer(block, planes // 16, *args, **kwargs)


def tiny_resnet(block, layers):
    model = TinyResNet(block, layers)
    model.fc = torch.nn.Linear(32 * block.expansion, 5)
    return model


def tiny_hybrid():
    conv = functools.partial(StdConv2dSame, eps=1e-8)
    backbone = ResNetV2(layers=(1, 2), channels=(128, 128), stem_chs=32, num_classes=0, global_pool="", preact=False, stem_type="same", conv_layer=conv)
    return VisionTransformer(img_size=32, embed_layer=functools.partial(HybridEmbed, backbone=backbone), patch_size=1, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2, num_classes=5)


def hf(size, **config):
    return ViTForImageClassification(ViTConfig(image_size=size, attn_implementation="eager", **config))


def timm_vit(**config):
    return VisionTransformer(**config)


class SerialHybrid(torch.nn.Module):
    """torchvision's ResNet-50 without pooling and classes, a projection, Hugging Face's ViT without patches: `serial-r50-vit-base`."""

    def __init__(self, attention="eager"):
        super().__init__()
        self.resnet = torchvision.models.resnet50()
        self.projection = torch.nn.Linear(2048, 768)
        self.vit = ViTForImageClassification(ViTConfig(num_labels=1000, attn_implementation=attention))

    def forward(self, x):
        resnet, vit = self.resnet, self.vit.vit
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x))))
        x = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
        grid = x.shape[-2:]
        tokens = self.projection(x.flatten(2).transpose(1, 2))
        positions = vit.embeddings.position_embeddings
        side = int((positions.shape[1] - 1) ** 0.5)
        places = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        places = F.interpolate(places, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
        cls = vit.embeddings.cls_token + positions[:, :1]
        x = torch.cat([cls.expand(len(x), -1, -1), tokens + places], 1)
        for layer in vit.layers:
            x = layer(x)
        return self.vit.classifier(vit.layernorm(x)[:, 0])


def serial_hooks(store, model):
    for stage in range(1, 5):
        hook(store, f"stage{stage}", getattr(model.resnet, f"layer{stage}"))
    for index, layer in enumerate(model.vit.vit.layers):
        hook(store, f"attention{index + 1}", layer.attention, lambda output: output[1])
    hook(store, "cls", model.vit.vit.layernorm, lambda y: y[:, 0])
    hook(store, "tokens", model.vit.vit.layernorm, lambda y: y[:, 1:])


def cases(tiny):
    """Name, source, model, side of the input, further arguments of the import, hooks, arguments of the pass."""
    if tiny:
        yield "torchvision-basic", "torchvision", tiny_resnet(BasicBlock, [1, 2, 1, 1]), 64, [], resnet_hooks, {}
        yield "torchvision-bottleneck", "torchvision", tiny_resnet(Bottleneck, [1, 2, 1, 1]), 64, [], resnet_hooks, {}
        small = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, patch_size=8, num_labels=5)
        yield "hf-vit", "hf-vit", hf(32, **small), 32, ["--heads", "4"], None, {}
        yield "hf-vit-resized", "hf-vit", hf(40, **small), 24, ["--heads", "4", "--input-size", "24"], None, {"interpolate_pos_encoding": True}
        small = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2, num_classes=5)
        yield "timm-vit", "timm-vit", timm_vit(**small), 32, ["--heads", "4"], timm_hooks, {}
        resized = dict(small, img_size=40, dynamic_img_size=True)
        yield "timm-vit-resized", "timm-vit", timm_vit(**resized), 24, ["--heads", "4", "--input-size", "24"], timm_hooks, {}
        registers = dict(small, reg_tokens=2, no_embed_class=True)
        yield "timm-vit-registers", "timm-vit", timm_vit(**registers), 32, ["--heads", "4"], timm_hooks, {}
        yield "timm-hybrid", "timm-hybrid", tiny_hybrid(), 32, ["--heads", "4"], hybrid_hooks, {}
        return
    for name in ("resnet18", "resnet34", "resnet50"):
        yield name, "torchvision", getattr(torchvision.models, name)(), 224, [], resnet_hooks, {}
    yield "ViT-B/16", "hf-vit", hf(224, num_labels=1000), 224, [], None, {}
    yield "ViT-B/16 at 384", "hf-vit", hf(224, num_labels=1000), 384, ["--input-size", "384"], None, {"interpolate_pos_encoding": True}
    for name in ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"):
        yield name, "timm-vit", timm.create_model(name), 224, [], timm_hooks, {}
    yield "vit_base_patch16_224 at 384", "timm-vit", timm.create_model("vit_base_patch16_224", dynamic_img_size=True), 384, ["--input-size", "384"], timm_hooks, {}
    for name in ("vit_small_r26_s32_224", "vit_base_r50_s16_224"):
        yield name, "timm-hybrid", timm.create_model(name, num_classes=1000), 224, [], hybrid_hooks, {}
    yield "ResNet-50 + ViT-B, serial", "torchvision + hf-vit", SerialHybrid(), 224, [], serial_hooks, {}


def save_weights(model, source, folder, half):
    """As each library does: torchvision a .pth, Hugging Face its own names, timm safetensors. Returns sources and files."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, SerialHybrid):
        parts = save_weights(model.resnet, "torchvision", folder / "resnet", half)
        parts += save_weights(model.vit, "hf-vit", folder / "vit", half)
        projection = {f"patch_embed.proj.{name}": tensor for name, tensor in model.projection.state_dict().items()}
        save_file(projection, folder / "projection.safetensors")
        return parts + [("bifocal", folder / "projection.safetensors")]
    if source == "torchvision" and not half:
        torch.save(model.state_dict(), folder / "weights.pth")
        return [(source, folder / "weights.pth")]
    if source == "hf-vit":
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            state = load_file(pathlib.Path(saved) / "model.safetensors")
    else:
        state = model.state_dict()
    state = {name: tensor.half() if half and tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "weights.safetensors")
    return [(source, folder / "weights.safetensors")]


def make_bundle(model, source, folder, arguments=()):
    """Saves the weights of `model` and imports them with the program; returns the bundle's folder."""
    command = [PROGRAM, "model", "import", "--out", folder / "bundle", *arguments]
    for part_source, file in save_weights(model, source, folder, half=False):
        command += ["--from", part_source, file]
    if isinstance(model, SerialHybrid):
        config = subprocess.run([PROGRAM, "model", "describe", "--preset", "serial-r50-vit-base", "--toml"], check=True, capture_output=True)
        (folder / "serial.toml").write_bytes(config.stdout)
        command += ["--into", folder / "serial.toml"]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return folder / "bundle"


def expected_of(model, source, side, hooks, arguments, double=False):
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(1, 3, side, side, generator=generator)
    while HOOKS:
        HOOKS.pop().remove()
    if double:
        model, x = model.double(), x.double()
    store = run_hf(model, x, **arguments) if source == "hf-vit" else run(model, x, hooks, **arguments)
    # Registers stand behind the tokens in Bifocal, and behind CLS in timm.
    registers = getattr(model, "num_reg_tokens", 0)
    for name, tensor in store.items():
        if name.startswith("attention") and registers:
            order = [0, *range(1 + registers, tensor.shape[-1]), *range(1, 1 + registers)]
            store[name] = tensor[:, :, order][:, :, :, order]
    return {"input": x} | {name: tensor.contiguous() for name, tensor in store.items()}


def relative(a, b):
    return float((a.double() - b.double()).abs().max() / b.abs().max())


def write_tiny():
    for name, source, model, side, _, hooks, arguments in cases(tiny=True):
        randomise(model, half=True)
        folder = FIXTURES / name
        save_weights(model, source, folder, half=True)
        save_file(expected_of(model, source, side, hooks, arguments), folder / "expected.safetensors")
        print(name, sum(file.stat().st_size for file in folder.iterdir()) // 1024, "KiB")
    # One of PyTorch's own format, nested as training programs leave it.
    model = randomise(tiny_resnet(BasicBlock, [1, 2, 1, 1]), half=True).half()
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, FIXTURES / "torchvision-basic/weights.pth")


def compare_full(only):
    print("| weights | from | largest difference of logits | of features | of attention | Bifocal from f64 | PyTorch from f64 |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for name, source, model, side, arguments, hooks, of_pass in cases(tiny=False):
        if only and only not in name:
            continue
        randomise(model, half=False)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            bundle = make_bundle(model, source, folder, arguments)
            expected = expected_of(model, source, side, hooks, of_pass)
            save_file({"input": expected.pop("input")}, folder / "input.safetensors")
            command = [PROGRAM, "model", "features", bundle, folder / "input.safetensors", folder / "output.safetensors"]
            subprocess.run([str(part) for part in command], check=True)
            ours = load_file(folder / "output.safetensors")
        exact = expected_of(model, source, side, hooks, of_pass, double=True)
        columns = {"logits": None, "features": None, "attention": None}
        for tensor_name, theirs in expected.items():
            column = "logits" if "logits" in tensor_name else "attention" if "attention" in tensor_name else "features"
            columns[column] = max(columns[column] or 0.0, relative(ours[tensor_name], theirs))
        worst = max(worst, *(value for value in columns.values() if value is not None))
        columns["ours"] = max(relative(ours[tensor_name], exact[tensor_name]) for tensor_name in expected)
        columns["theirs"] = max(relative(theirs, exact[tensor_name]) for tensor_name, theirs in expected.items())
        print(f"| {name} | {source} | " + " | ".join("-" if value is None else f"{value:.1e}" for value in columns.values()) + " |", flush=True)
    return 0 if worst < 1e-4 else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="write the fixtures")
    parser.add_argument("--full", action="store_true", help="compare sizes as published")
    parser.add_argument("--only", default="", help="a part of the names that --full compares")
    args = parser.parse_args()
    if not args.tiny and not args.full:
        parser.error("--tiny or --full")
    if args.tiny:
        write_tiny()
    return compare_full(args.only) if args.full else 0


if __name__ == "__main__":
    sys.exit(main())
