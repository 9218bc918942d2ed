"""Scales in whole multiples: what groups' digits become, in rounding and in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.compress.quantize.rounding import error, put_on_grid
from whet.compress.quantize.static import StaticQuantization
from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid
from whet.graph.multiples import settled, whole_multiples
from whet.train.fit_report import FitReport
from whet.train.learned_steps import LearnedSteps
from whet.train.recipe import Recipe
from whet.train.technique import Session

GRID = Grid(4, group=16, within=8)


def uneven(channels: int = 8, inputs: int = 64) -> torch.Tensor:
    """Return weights whose groups of 16 are of very different size."""
    torch.manual_seed(0)
    return torch.randn(channels, inputs) * torch.logspace(-1, 0, inputs)


def test_scales_are_the_nearest_multiples_of_one_and_the_largest_stays() -> None:
    scales = torch.rand(5, 7) + 0.1
    multiples, one = whole_multiples(scales, 18)
    assert torch.equal(multiples, multiples.round()) and (multiples.amax(1) == 18).all() and multiples.min() >= 1
    assert (scales - multiples * one.unsqueeze(1)).abs().max() <= one.max() / 2 + 1e-6
    assert torch.allclose((multiples * one.unsqueeze(1)).amax(1), scales.amax(1))
    again = settled(settled(scales.flatten(), 5, 18), 5, 18)
    assert torch.allclose(again, settled(scales.flatten(), 5, 18), rtol=1e-6)


@pytest.mark.parametrize(("bits", "within", "most"), [(4, 8, 18), (4, 7, 9), (3, 8, 42)])
def test_products_of_digits_and_multiples_fit_the_wider_integers(bits: int, within: int, most: int) -> None:
    grid, weight = Grid(bits, group=16, within=within), uneven()
    assert grid.multiple == most
    scale = grid.scale(weight)
    multiples, one = whole_multiples(scale.view(8, -1), grid.multiple)
    wide = grid.integers(weight, scale).view(8, 4, 16) * multiples.unsqueeze(-1)
    assert 2 ** (within - 2) < wide.abs().max() <= 2 ** (within - 1) - 1
    layer = quantize_weight(nn.Linear(64, 8), grid).eval()
    layer.get_parameter("weight").data.copy_(weight)
    layer.weight_scale.copy_(scale)  # type: ignore[operator,union-attr]
    found = layer.integer_weight(weight)  # type: ignore[operator]
    assert torch.allclose(found, (wide * one.view(8, 1, 1)).view_as(weight), atol=1e-6)


def test_rounding_makes_up_for_what_both_steps_lose() -> None:
    """Nearly the error of groups with scales of any value, and much less than that of a scale a channel."""
    torch.manual_seed(0)
    x = torch.randn(400, 64).double() @ torch.randn(64, 64).double()
    moments, weight, lost = (x.mT @ x / 400)[None], uneven(), {}
    for name, grid in (("channel", Grid(4)), ("free", Grid(4, group=16)), ("multiples", GRID)):
        plain = nn.Linear(64, 8)
        plain.weight.data.copy_(weight)
        layer = quantize_weight(plain, grid).eval()
        put_on_grid(layer, moments)
        found = layer.get_parameter("weight").detach()
        assert isinstance(layer, IntegerWeight) and torch.allclose(layer.integer_weight(found), found, atol=1e-6)
        lost[name] = float(error(weight[None], found[None], moments))
    assert lost["multiples"] < 1.3 * lost["free"] and lost["multiples"] < 0.5 * lost["channel"]


def test_training_learns_scales_that_end_as_multiples() -> None:
    layer = quantize_weight(nn.Linear(64, 8), GRID).train()
    assert isinstance(layer, IntegerWeight)
    recipe = Recipe(learning_rate=0.1, momentum=0.0, schedule="constant", warmup=0.0, precision="f32")
    hooks = LearnedSteps().begin(Session(layer, None, recipe, FitReport(), lambda: 0.5))
    layer(torch.randn(32, 64)).square().sum().backward()  # type: ignore[operator]
    assert layer.weight_scale.grad is not None and (layer.weight_scale.grad != 0).all()
    before = layer.weight_scale.detach().clone()
    assert hooks.after_step is not None and hooks.end is not None
    hooks.after_step()
    free = layer.weight_scale.detach().clone()
    assert not torch.equal(free, before)
    hooks.end()
    assert torch.allclose(layer.weight_scale, settled(free, 8, 18)) and not torch.allclose(layer.weight_scale, free)


def test_what_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueRangeError, match="integers of 5 bits have no room"):
        Grid(5, within=5)
    with pytest.raises(ValueRangeError, match="groups are for weights of at most 5 bits; got 8"):
        StaticQuantization(group=32)
