from __future__ import annotations

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.calibration import Rows
from whet.compress.quantize.observers import asymmetric, min_max, symmetric
from whet.compress.quantize.smoothing import (
    WORTH,
    divide_inputs,
    multiplied_before,
    predicted_error,
    smoothed,
    smoothing_factor,
)  # fmt: skip


def outlying(features: int = 16) -> Rows:
    """Return rows whose first feature is two hundred times as large as the others."""
    x = torch.randn(1000, features, generator=torch.Generator().manual_seed(0))
    x[:, 0] *= 200
    return Rows(x, x.amin(0), x.amax(0))


class Block(nn.Module):
    def __init__(self, norm: bool = True, read_twice: bool = False) -> None:
        super().__init__()
        self.before: nn.Module = nn.LayerNorm(8) if norm else nn.Linear(8, 8)
        self.left, self.right, self.read_twice = nn.Linear(8, 4), nn.Linear(8, 4), read_twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.before(x) if isinstance(self.before, nn.LayerNorm) else self.before(x).relu()
        z = self.left(y) + self.right(y)
        return z + y[..., :4] if self.read_twice else z


def scaled(module: nn.Module) -> tuple[whet.Net, bool, torch.Tensor, torch.Tensor]:
    """Smooth what `left` and `right` read; return whether the layer in front took it over, and outputs of both nets."""
    torch.manual_seed(0)
    x = torch.randn(6, 5, 8)
    net = whet.lift(module.eval(), x)
    wanted = net(x).detach()
    factor = torch.rand(8) * 3 + 0.1
    readers = [n for n in net.graph.nodes if n.op == "call_module" and str(n.target) in ("left", "right")]
    for reader in readers:
        divide_inputs(net.layer(str(reader.target)), factor)
    taken = multiplied_before(net, readers[0].all_input_nodes[0], readers, factor)
    return net, taken, net(x).detach(), wanted


@pytest.mark.parametrize("norm", [True, False])
def test_the_layer_in_front_takes_the_factor_over_and_outputs_stay(norm: bool) -> None:
    _, taken, found, wanted = scaled(Block(norm))
    assert taken
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_something_else_reads_too_is_left_alone() -> None:
    net, taken, _, _ = scaled(Block(read_twice=True))
    assert not taken
    assert torch.equal(net.layer("before").weight, torch.ones(8))  # type: ignore[arg-type]


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_factor_shares_the_outliers_out_as_in_the_paper(strength: float) -> None:
    """Xiao et al. 2023, equation 4: at one half, features and columns of the weight have the same maximum."""
    rows, weight = outlying(), torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    factor = smoothing_factor(rows.most, weight, strength)
    assert float(factor.log().mean()) == pytest.approx(0, abs=1e-5)
    x, w = rows.most * factor, (weight / factor).abs().amax(0)
    ratios = {0.0: w, 0.5: x / w, 1.0: x}[strength]
    torch.testing.assert_close(ratios / ratios[0], torch.ones(16), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", [symmetric, asymmetric])
def test_the_predicted_error_is_what_is_measured(grid: object) -> None:
    rows = outlying()
    weight = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))
    scale, zero = grid(*min_max(rows.seen()))  # type: ignore[operator]
    step = weight.abs().amax(1, keepdim=True) / 127
    rounded = (torch.clamp(torch.round(rows.values / scale) + zero, 0, 255) - zero) * scale
    error = rounded @ (torch.round(weight / step) * step).T - rows.values @ weight.T
    measured = float((error - error.mean(0)).square().mean(0).sum())
    assert predicted_error(rows, weight, scale, zero) == pytest.approx(measured, rel=0.15)


def test_outliers_are_smoothed_and_even_features_are_not() -> None:
    weight = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))
    rows = outlying()
    found = smoothed(rows, weight, min_max, asymmetric)
    assert found is not None and float(found.factor[0] / found.factor[1:].min()) < 0.1
    errors = []
    for f in (torch.ones(16), found.factor):
        now = rows.times(f)
        errors.append(predicted_error(now, weight / f, *asymmetric(*min_max(now.seen()))))
    assert errors[1] < min(WORTH, 0.2) * errors[0]
    even = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    assert smoothed(Rows(even, even.amin(0), even.amax(0)), weight, min_max, asymmetric) is None
