"""Rows of the activation functions, and of softmax and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.operators.elementwise import unary
from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Value, at, is_host, tensor

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def shaped(run: Callable[[Tensor, Attributes], Any]) -> Row:
    """A function of one tensor, of any shape, and the attributes."""
    return Row(lambda call, x, a: run(tensor(x[0]), a))


def selu(value: Tensor, a: Attributes) -> Tensor:
    """gamma (v where positive, alpha (e^v - 1) elsewhere), element by element, any shape."""
    alpha, gamma = a.get("alpha", SELU_ALPHA), a.get("gamma", SELU_GAMMA)
    if alpha == SELU_ALPHA and gamma == SELU_GAMMA:
        usual: Tensor = F.selu(value)
        return usual
    scaled: Tensor = gamma * torch.where(value > 0, value, alpha * (torch.exp(value) - 1))
    return scaled


def shrink(value: Tensor, a: Attributes) -> Tensor:
    """Towards zero by `bias` outside of +-lambd, zero inside. Of the shape of the input."""
    bias, lambd = a.get("bias", 0.0), a.get("lambd", 0.5)
    moved = torch.where(value < -lambd, value + bias, torch.where(value > lambd, value - bias, 0.0))
    return moved.to(value.dtype)


def celu(value: Tensor, a: Attributes) -> Tensor:
    """max(0, v) + min(0, alpha (e^(v / alpha) - 1)), element by element, any shape."""
    alpha = a.get("alpha", 1.0)
    result: Tensor = F.celu(value, alpha)
    return result


def swish(value: Tensor, a: Attributes) -> Tensor:
    """v sigmoid(alpha v), element by element, any shape."""
    alpha = a.get("alpha", 1.0)
    if alpha == 1.0:
        usual: Tensor = F.silu(value)
        return usual
    return value * torch.sigmoid(alpha * value)


def parametric_relu(call: Call, x: list[Value], a: Attributes) -> Value:
    """x where positive, slope x x elsewhere; one slope, or one a channel in dimension 1, is torch's own."""
    value, slope = tensor(x[0]), tensor(x[1])
    per_channel = slope.dim() == value.dim() - 1 and value.dim() > 1 and slope.numel() == slope.shape[0]
    fits = slope.numel() == 1 or (per_channel and slope.shape[0] == value.shape[1])
    if fits and value.is_floating_point() and value.dim() > 0:
        return F.prelu(value, slope.reshape(-1))
    return torch.where(value < 0, value * slope, value)


def hardmax(value: Tensor, dim: int) -> Tensor:
    """One at the first maximum along `dim`, zero elsewhere; of the shape of the input."""
    best = value.argmax(dim, keepdim=True)
    return torch.zeros_like(value).scatter(dim, best, 1.0)


def along(run: Callable[..., Tensor]) -> Row:
    """A softmax, which keeps the shape: along one axis, before operator set 13 over all dimensions from `axis` on."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        value = tensor(x[0])
        if call.opset >= 13:
            return run(value, a.get("axis", -1))
        axis = a.get("axis", 1) % max(value.dim(), 1)
        if axis == value.dim() - 1:
            return run(value, -1)
        return run(value.flatten(axis), -1).reshape(value.shape)

    return Row(handler)


def gated(call: Call, x: list[Value], a: Attributes) -> Value:
    """SwiGLU: swish(a) x b."""
    return swish(tensor(x[0]), a) * tensor(x[1])


def biased_gelu(call: Call, x: list[Value], a: Attributes) -> Value:
    """GELU of a sum, by its tanh form in `FastGelu`."""
    value = tensor(x[0])
    if at(x, 1) is not None:
        value = value + tensor(x[1])
    return F.gelu(value, approximate="tanh" if "Fast" in call.op else "none")


def dropout(call: Call, x: list[Value], a: Attributes) -> Value:
    """In a file that is used as it is, dropout does nothing; the mask is all ones."""
    ratio, training = at(x, 1), at(x, 2)
    if training is not None and not (is_host(training) and not training.any()):
        rate = float(ratio.item()) if is_host(ratio) else 0.5
        if rate != 0.0:
            raise call.not_read("training mode, which is random,")
    if call.layer is not None:
        return call.layer(tensor(x[0]))
    if call.outputs > 1:
        value = tensor(x[0])
        return value, torch.ones_like(value, dtype=torch.bool)
    return x[0]


ROWS: Rows = {
    "Relu": unary(torch.relu),
    "Sigmoid": unary(torch.sigmoid),
    "Tanh": unary(torch.tanh),
    "Softplus": unary(F.softplus),
    "Softsign": unary(F.softsign),
    "Mish": unary(F.mish),
    "HardSwish": unary(F.hardswish),
    "LeakyRelu": shaped(lambda v, a: F.leaky_relu(v, a.get("alpha", 0.01))),
    "Elu": shaped(lambda v, a: F.elu(v, a.get("alpha", 1.0))),
    "Celu": shaped(celu),
    "Selu": shaped(selu),
    "ThresholdedRelu": shaped(lambda v, a: torch.where(v > a.get("alpha", 1.0), v, 0.0)),
    "HardSigmoid": shaped(lambda v, a: (v * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1)),
    "Shrink": shaped(shrink),
    "Gelu": shaped(lambda v, a: F.gelu(v, approximate=choice(a, "approximate", "none", "tanh"))),
    "Swish": shaped(swish),
    "SwiGLU": Row(gated),
    "PRelu": Row(parametric_relu),
    "Softmax": along(torch.softmax),
    "LogSoftmax": along(torch.log_softmax),
    "Hardmax": along(hardmax),
    "Dropout": Row(dropout, known=(1, 2)),
    "com.microsoft.Gelu": Row(biased_gelu),
    "com.microsoft.FastGelu": Row(biased_gelu),
    "com.microsoft.BiasGelu": Row(biased_gelu),
    "com.microsoft.QuickGelu": shaped(lambda v, a: v * torch.sigmoid(a.get("alpha", 1.702) * v)),
}
