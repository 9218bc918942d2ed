"""Binary weights as a square wave: the gradient of the sine, the two stages, and integers at the end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.square_wave import SquareWave
from whet.train.technique import Session


def begun(progress: float, frequency: float = 5.0) -> tuple[nn.Sequential, SquareWave]:
    module, technique = rounded(Grid(2)), SquareWave(frequency)
    technique.begin(Session(module, None, F32, FitReport(), lambda: progress))
    return module.train(), technique


@pytest.mark.parametrize(("progress", "is_square"), [(0.2, False), (0.5, True), (0.9, True)])
def test_a_sine_comes_first_and_its_square_wave_then_with_the_same_gradient(progress: float, is_square: bool) -> None:
    """w = s sin(f v), later s sign(sin(f v)); dw/dv = s f cos(f v) in both."""
    module, _ = begun(progress)
    for layer in layers_of(module):
        v, s = layer.weight.detach(), layer.weight_scale.detach().unsqueeze(1)
        wave = torch.sin(5.0 * v)
        form = layer.integer_weight(layer.weight)
        assert torch.allclose(form, s * (torch.sign(wave) if is_square else wave))
        (slope,) = torch.autograd.grad(form.sum(), layer.weight)
        assert torch.allclose(slope, s * 5.0 * torch.cos(5.0 * v), atol=1e-6)


def test_scales_begin_where_the_squared_error_to_the_signs_is_least() -> None:
    module, _ = begun(0.0)
    for layer in layers_of(module):
        v, s = layer.weight.detach(), layer.weight_scale.detach().unsqueeze(1)
        errors = [float((v - c * s * v.sign()).square().sum()) for c in (0.95, 1.0, 1.05)]
        assert errors[1] < errors[0] and errors[1] < errors[2]


def test_weights_are_plus_and_minus_one_of_the_grid_at_the_end_and_their_sum_is_what_was_trained() -> None:
    module = rounded(Grid(2))
    report = fit(module, task(), recipe=F32, samples=640, techniques=(SquareWave(8.0),))
    ((x, _),) = task().val
    for layer in layers_of(module):
        assert set(layer.grid.integers(layer.weight, layer.weight_scale).unique().tolist()) == {-1, 1}
        assert torch.allclose(layer.weight.detach().abs(), layer.weight_scale.unsqueeze(1).expand_as(layer.weight))
        assert layer.in_training is None and not report.skipped
    by_hand = functional.linear(x, layers_of(module)[0].weight, layers_of(module)[0].bias)
    assert torch.allclose(module[0](x), by_hand, atol=1e-5)


def test_the_sign_at_the_end_is_that_of_the_wave() -> None:
    module, technique = begun(0.9)
    layer = layers_of(module)[0]
    with torch.no_grad():
        layer.weight[0, :4] = torch.tensor([0.1, 1.5 * math.pi / 5, -0.1, -1.5 * math.pi / 5])
    found = technique.binary(layer, layer.weight)[0, :4] / layer.weight_scale[0]
    assert found.tolist() == [1.0, -1.0, -1.0, 1.0]


def test_training_binary_weights_gains_much() -> None:
    ((x, y),) = task().val

    def loss(epochs: float) -> float:
        module = rounded(Grid(2))
        fit(module, task(), recipe=F32, epochs=epochs, techniques=(SquareWave(5.0),))
        return float(functional.cross_entropy(module(x), y).detach())

    assert loss(24) < 0.5 * loss(0.1)


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(SquareWave(8.0), lambda: rounded(Grid(2)), tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_layers_that_hold_zeros_and_those_of_eight_bits_are_left() -> None:
    module, eight = rounded(Grid(2)), rounded(Grid(8))
    hold(module[0])
    report = fit(module, task(), recipe=F32, samples=64, techniques=(SquareWave(),))
    assert report.skipped == {"0": "it holds zeros, and weights without a zero were asked for"}
    fit(eight, task(), recipe=F32, samples=64, techniques=(SquareWave(),))
    assert len(layers_of(eight)[0].weight.detach().abs().unique()) > 50
    with pytest.raises(ValueRangeError, match="frequency"):
        SquareWave(0.0)
