from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from written import Function, check, onnx_runtime, written

from whet.hardware.onnx_writer import Unwritten

IMAGE = torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(0))
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu, sigmoid, tanh": lambda x: x.relu() + x.sigmoid() * x.tanh(),
    "exp, log, sqrt, rsqrt": lambda x: x.exp().log() + (x.abs() + 1).sqrt() - (x.abs() + 1).rsqrt(),
    "sin, cos, erf": lambda x: x.sin() + x.cos() * x.erf(),
    "floor, ceil, round": lambda x: (3 * x).floor() + (3 * x).ceil() - (3 * x).round(),
    "a number less x": lambda x: 1 - x,
    "a factor in a sum": lambda x: torch.add(x, x.abs(), alpha=0.3),
    "a number's power": lambda x: x.abs() ** 1.7 + x**2 + x.abs() ** 0.5,
    "whole numbers": lambda x: (x * 10).to(torch.int64) / 3,
    "comparisons": lambda x: ((x > 0) & ~(x >= 1) | (x < -1)).float() + (x <= -2).float() + (x != 0).float(),
    "where and masks": lambda x: torch.where(x > 0, x, 0.1 * x) + x.masked_fill(x < 0, -5.0),
    "bounds": lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.1) - x.clamp(max=0.2),
    "in place": lambda x: (x * 1).add_(1).relu_(),
    "largest with its place": lambda x: x.max(1)[0] + x.max(1)[1].float(),
    "largest alone": lambda x: x.amax((1, 2)) - x.amin((1, 2)),
    "its place": lambda x: x.argmax(1).float(),
    "variance": lambda x: x.var(1) + x.var((1, 2), unbiased=False, keepdim=True).squeeze(1),
    "norm": lambda x: functional.normalize(x, dim=1) + x.norm(p=1, dim=1, keepdim=True),
    "sums": lambda x: x.sum((1, 2)) + x.mean(3).sum(1, keepdim=True).squeeze(1).sum(1, keepdim=True),
    "logsumexp, cumsum": lambda x: x.logsumexp(1) + x.cumsum(2)[:, 0],
    "softmax": lambda x: x.softmax(1) - x.log_softmax(-1),
    "gates": lambda x: functional.glu(x, 1),
}
NAMES = (
    "gelu", "silu", "elu", "selu", "softplus", "mish", "hardswish", "hardsigmoid", "relu6", "hardtanh", "leaky_relu",
)  # fmt: skip
UNITS = {name: getattr(functional, name) for name in NAMES}


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    check(Function(CASES[name]), IMAGE)


@pytest.mark.parametrize("name", UNITS)
def test_units(name: str) -> None:
    check(Function(UNITS[name]), IMAGE)


def test_a_slope_for_each_channel() -> None:
    check(nn.Sequential(nn.Identity(), nn.PReLU(8)), IMAGE)


@pytest.mark.parametrize("view", [lambda x: x[:, 0], lambda x: x.view(x.shape[0], -1)])
def test_what_is_changed_in_place_and_read_elsewhere(view: Callable[[Tensor], Tensor]) -> None:
    """Lift makes such a network one that changes nothing, or else the exporter is asked: the file is never wrong."""

    def function(x: Tensor) -> Tensor:
        y = x * 1
        part = view(y)
        y.add_(1)
        return part * 2

    module = Function(function)
    try:
        net, model = written(module, IMAGE)
    except Unwritten as why:
        assert "add_" in str(why)
        return
    found = onnx_runtime(model.SerializeToString())({net.inputs[0].name: IMAGE.numpy()})[0]
    assert np.abs(found - module(IMAGE).numpy()).max() < 1e-6


def test_what_has_no_row_is_named() -> None:
    with pytest.raises(Unwritten, match="bessel_j0"):
        written(Function(torch.special.bessel_j0), IMAGE)
