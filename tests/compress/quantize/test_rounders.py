"""Every way of rounding is found by its name, puts weights on the grid as it is stored, and gains with each bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.rounders import ROUNDERS, rounder
from whet.compress.quantize.rounding import error, input_moments, put_on_grid
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.errors import UnknownNameError
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.testing.runs import planning_run


def dependent(groups: int, inputs: int) -> Tensor:
    """Return second moments of inputs that depend on each other."""
    torch.manual_seed(0)
    x = torch.randn(groups, 200, inputs, dtype=torch.float64) @ torch.randn(groups, inputs, inputs, dtype=torch.float64)
    x = x + 6 * torch.randn(groups, 200, 1, dtype=torch.float64)
    return x.mT @ x / 200


@pytest.mark.parametrize("name", ROUNDERS)
@pytest.mark.parametrize("grid", [Grid(2), Grid(3, top=2), Grid(4, group=12)], ids=lambda g: g.name)
def test_a_layer_is_stored_as_it_was_rounded_and_keeps_its_zeros(grid: Grid, name: str) -> None:
    moments = dependent(2, 36)
    plain = nn.Conv2d(8, 6, 3, groups=2)
    plain.weight.data[:, ::3] = 0.0
    hold(plain)
    layer = quantize_weight(plain, grid).eval()
    put_on_grid(layer, moments, name)
    assert isinstance(layer, IntegerWeight)
    found = layer.get_parameter("weight").detach()
    assert torch.allclose(layer.integer_weight(found), found, atol=1e-6) and (found[:, ::3] == 0).all()


@pytest.mark.parametrize("name", ROUNDERS)
def test_the_error_falls_with_each_bit_and_rounding_is_the_same_every_time(name: str) -> None:
    moments, weight = dependent(2, 24), torch.randn(2, 5, 24)
    found = [rounder(name)(weight, moments, Grid(bits), None)[0] for bits in (2, 3, 4, 6, 8)]
    errors = [float(error(weight, each, moments).sum()) for each in found]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3 * errors[0]
    assert torch.equal(found[2], rounder(name)(weight, moments, Grid(4), None)[0])


@pytest.mark.parametrize("name", ROUNDERS)
def test_the_pass_rounds_by_name(name: str) -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))
    run, decision = planning_run(net), Decision({NETWORK: "int3"})
    weight = net.layer("0").get_parameter("weight").detach().unsqueeze(0)
    wanted, _ = rounder(name)(weight, input_moments(net, run)[0]["0"], Grid(3), None)
    found = WeightOnly(rounding=name).apply(net, decision, run)
    assert found.texts == {"0": "int3", "2": "int3"}
    assert torch.allclose(found.net.layer("0").get_parameter("weight"), wanted[0])


def test_a_misspelt_name_is_told() -> None:
    with pytest.raises(UnknownNameError, match="unknown rounding 'path-folowing'; did you mean 'path-following'"):
        WeightOnly(rounding="path-folowing")
    with pytest.raises(UnknownNameError, match="Allowed: attention-aware, compensated, nearest"):
        rounder("nothing")
