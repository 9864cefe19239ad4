"""Every operation of core/src/nn in PyTorch, forward and backward: what core/tests/ops.rs compares with.

    pip install torch safetensors
    python core/tests/reference/ops.py     # writes ops.safetensors beside this file

A case is its inputs (`name/x`), `name/y`, `name/dy` (drawn at random), and the gradient of each input, `name/d<input>`.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(5)
tensors = {}


def draw(*shape):
    return torch.randn(shape, generator=generator)


def case(name, run, **inputs):
    """`run` of `inputs`, in double precision."""
    double = {key: value.double().requires_grad_() for key, value in inputs.items()}
    y = run(**double)
    dy = draw(*y.shape)
    gradients = torch.autograd.grad(y, list(double.values()), dy.double())
    tensors.update({f"{name}/{key}": value for key, value in inputs.items()})
    tensors.update({f"{name}/d{key}": gradient.float().contiguous() for key, gradient in zip(inputs, gradients)})
    tensors.update({f"{name}/y": y.detach().float().contiguous(), f"{name}/dy": dy})


def convolutions():
    plain = dict(x=draw(2, 3, 7, 6), weight=draw(4, 3, 3, 3), bias=draw(4))
    case("conv2d stride 2", lambda x, weight, bias: F.conv2d(x, weight, bias, stride=2, padding=1), **plain)
    case("conv2d dilation 2", lambda x, weight, bias: F.conv2d(x, weight, bias, padding=2, dilation=2), **plain)
    case("conv2d trailing", lambda x, weight, bias: F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride=2), **plain)
    grouped = dict(x=draw(2, 4, 5, 6), weight=draw(6, 2, 3, 3), bias=draw(6))
    case("conv2d groups 2", lambda x, weight, bias: F.conv2d(x, weight, bias, padding=1, groups=2), **grouped)
    pointwise = dict(x=draw(1, 5, 4, 3), weight=draw(7, 5, 1, 1), bias=draw(7))
    case("conv2d pointwise", lambda x, weight, bias: F.conv2d(x, weight, bias), **pointwise)
    # Large enough for Winograd's tiles.
    wide = dict(x=draw(2, 16, 13, 14), weight=draw(16, 16, 3, 3) / 12, bias=draw(16))
    case("conv2d winograd", lambda x, weight, bias: F.conv2d(x, weight, bias, padding=1), **wide)

    end = dict(x=draw(2, 3, 6, 5), weight=draw(4, 3, 3, 3), residual=draw(2, 4, 6, 5))
    case("conv_bias", lambda x, weight, residual, bias: F.relu(F.conv2d(x, weight, bias, padding=1) + residual), **end, bias=draw(4))
    case(
        "conv_norm",
        lambda x, weight, residual, gamma, beta: F.relu(F.group_norm(F.conv2d(x, weight, padding=1), 2, gamma, beta, 1e-5) + residual),
        **end, gamma=draw(4), beta=draw(4),
    )


def norms():
    x, gamma, beta = draw(3, 4, 5, 3), draw(4), draw(4)
    case("group_norm", lambda x, gamma, beta: F.group_norm(x, 2, gamma, beta, 1e-5), x=x, gamma=gamma, beta=beta)
    case("group_norm relu", lambda x, gamma, beta: F.relu(F.group_norm(x, 4, gamma, beta, 1e-5)), x=x, gamma=gamma, beta=beta)
    case("batch_norm", lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5), x=x, gamma=gamma, beta=beta)
    # After one step with a momentum of 1 the running statistics are the batch's.
    mean, variance = torch.zeros(4), torch.ones(4)
    F.batch_norm(x, mean, variance, training=True, momentum=1.0)
    tensors.update({"batch_norm/mean": mean, "batch_norm/variance": variance})

    def folded(x, weight, gamma, beta):
        return F.batch_norm(F.conv2d(x, weight), mean.double(), variance.double(), gamma, beta, training=False, eps=1e-5)

    case("fold_norm", folded, x=draw(2, 3, 4, 3), weight=draw(4, 3, 2, 2), gamma=gamma, beta=beta)

    def standardised(x):
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-8)

    case("standardise_weight", standardised, x=draw(4, 3, 3, 3))
    case("layer_norm", lambda x, gamma, beta: F.layer_norm(x, (6,), gamma, beta, 1e-6), x=draw(2, 5, 6), gamma=draw(6), beta=draw(6))


def tokens():
    case("linear", lambda x, weight, bias: F.linear(x, weight, bias), x=draw(2, 3, 5), weight=draw(4, 5), bias=draw(4))
    case("gelu", lambda x: F.gelu(x), x=3 * draw(4, 9))
    case("softmax", lambda x: F.softmax(x, -1), x=3 * draw(4, 9))
    case("sigmoid", lambda x: torch.sigmoid(x), x=3 * draw(7))
    case("add_relu", lambda a, b: F.relu(a + b), a=draw(3, 7), b=draw(3, 7))

    def parts(qkv):
        return qkv.unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)

    def joined(y):
        return y.transpose(1, 2).flatten(2)

    def linear_attention(qkv):
        q, k, v = parts(qkv)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        return joined(q @ (k.mT @ v) / (q @ k.sum(2, keepdim=True).mT))

    qkv = draw(2, 6, 24)
    case("attention", lambda qkv: joined(F.scaled_dot_product_attention(*parts(qkv))), qkv=qkv)
    case("linear_attention", linear_attention, qkv=qkv)


def maps():
    x = draw(2, 3, 7, 9)
    case("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), x=x)
    case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (3, 4)), x=x)
    case("resize_bilinear", lambda x: F.interpolate(x, (10, 5), mode="bilinear", align_corners=False), x=x)


def optimizer():
    """Three steps of AdamW."""
    value, gradients = draw(11), draw(3, 11)
    tensors.update({"adamw/value": value.clone(), "adamw/gradients": gradients})
    parameter = torch.nn.Parameter(value)
    adamw = torch.optim.AdamW([parameter], lr=0.01, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adamw.step()
    tensors["adamw/y"] = parameter.detach().clone()


for group in (convolutions, norms, tokens, maps, optimizer):
    group()
file = pathlib.Path(__file__).with_suffix(".safetensors")
save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)
print(f"{file.name}: {len(tensors)} tensors, {file.stat().st_size} bytes")
