"""Rounding by second moments: its identities, its bound, and what is known of the data that it goes by."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.rounding import compensated, error, input_moments, put_on_grid, weighted_scale
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.space import Decision
from whet.graph.fake_quantize import QuantizedConv2d, QuantizedLinear, quantize_weight
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.testing.runs import planning_run

GRID = Grid(4)


def case(seed: int, out: int = 6, inputs: int = 24, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, moments of inputs that depend on each other, and scales."""
    torch.manual_seed(seed)
    x = torch.randn(groups, 200, inputs, dtype=torch.float64) @ torch.randn(groups, inputs, inputs, dtype=torch.float64)
    weight = torch.randn(groups, out, inputs)
    return weight, x.mT @ x / 200, GRID.scale(weight.flatten(0, 1))


def nearest(weight: Tensor, scale: Tensor) -> Tensor:
    rows = GRID.rows(weight.flatten(0, 1))
    return (GRID.integers(rows, scale) * scale.unsqueeze(1)).view_as(weight)


def test_diagonal_moments_leave_rounding_to_nearest() -> None:
    weight, moments, scale = case(0, groups=2)
    diagonal = torch.diag_embed(moments.diagonal(dim1=-2, dim2=-1))
    assert torch.allclose(compensated(weight, diagonal, GRID, scale), nearest(weight, scale))


@pytest.mark.parametrize("seed", range(5))
def test_the_error_never_exceeds_that_of_rounding_to_nearest(seed: int) -> None:
    weight, moments, scale = case(seed, groups=2)
    found, plain = compensated(weight, moments, GRID, scale), nearest(weight, scale)
    assert (error(weight, found, moments) < 0.8 * error(weight, plain, moments)).all()
    integers = found.flatten(0, 1) / scale.unsqueeze(1)
    assert torch.allclose(integers, integers.round(), atol=1e-4) and integers.abs().max() <= GRID.most + 1e-4


def test_of_two_weights_the_second_makes_up_for_the_first() -> None:
    """With H = [[a, b], [b, c]] the best second weight, given that the first lost e, is w_2 + e b / c."""
    weight, scale = torch.tensor([[[0.4, 1.3]]]), torch.ones(1)
    moments = torch.tensor([[[3.0, 1.6], [1.6, 2.0]]], dtype=torch.float64)
    assert nearest(weight, scale).tolist() == [[[0.0, 1.0]]]
    assert round(1.3 + 0.4 * 1.6 / 2.0) == 2
    assert compensated(weight, moments, GRID, scale, damping=1e-9).tolist() == [[[0.0, 2.0]]]
    turned = torch.tensor([[[2.0, 1.6], [1.6, 3.0]]], dtype=torch.float64)
    assert compensated(weight.flip(-1), turned, GRID, scale, damping=1e-9).tolist() == [[[2.0, 0.0]]]


def test_damping_draws_to_rounding_to_nearest() -> None:
    weight, moments, scale = case(1)
    assert torch.allclose(compensated(weight, moments, GRID, scale, damping=1e6), nearest(weight, scale))


def test_scales_err_least_by_the_moments() -> None:
    """A large weight that reads next to nothing is clipped, where the plain scale reaches for it."""
    weight = torch.cat([torch.full((1, 1, 1), 5.0), torch.linspace(-1, 1, 40).view(1, 1, 40)], -1)
    moments = torch.eye(41, dtype=torch.float64).unsqueeze(0)
    moments[0, 0, 0] = 1e-6
    plain, found = GRID.scale(weight[0]), weighted_scale(weight, moments, GRID)
    assert found[0] < 0.5 * 5 / 7 < 0.9 * plain[0]
    assert torch.allclose(weighted_scale(weight, torch.eye(41).double()[None], GRID), plain)


@pytest.mark.parametrize("grid", [Grid(3), Grid(4, group=12)], ids=lambda g: g.name)
def test_a_layer_is_put_on_its_grid_and_keeps_its_zeros(grid: Grid) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 6, 3, groups=2)
    plain.weight.data[:, ::3] = 0.0
    hold(plain)
    layer = quantize_weight(plain, grid)
    before = layer.get_parameter("weight").clone()
    put_on_grid(layer, case(0, inputs=36, groups=2)[1])
    after = layer.get_parameter("weight")
    assert isinstance(layer, QuantizedConv2d)
    assert torch.allclose(layer.eval().integer_weight(after.detach()), after, atol=1e-6)
    assert (after[:, ::3] == 0).all() and not torch.equal(after, before)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.second(self.first(x).relu()).relu())
        return y


def test_a_weight_of_several_readers_is_rounded_to_nearest_and_says_why() -> None:
    net = whet.lift(Tied().eval(), (torch.randn(2, 16),))
    result = WeightOnly().apply(net, Decision({NETWORK: "int4"}), planning_run(net))
    assert result.texts["last"] == "int4"
    assert "rounded to nearest: its weight is read in several places" in result.texts["first"]
    layer = result.net.layer("first")
    assert isinstance(layer, QuantizedLinear) and torch.equal(layer.weight, net.layer("first").get_parameter("weight"))


def test_moments_are_taken_once_and_are_not_asked_for_without_data() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(16, 3)).eval(), (torch.randn(2, 16),))
    run = planning_run(net)
    known, _ = input_moments(net, run)
    assert known["0"].shape == (1, 16, 16) and input_moments(net, run)[0] is known
    bare = replace(run, task=replace(run.task, train=None, calibration=None))
    none, why = input_moments(net, bare)
    assert not none and "neither calibration nor training" in why["0"]
    result = WeightOnly().apply(net, Decision({NETWORK: "int4"}), bare)
    assert "rounded to nearest" in result.texts["0"]
    plain = WeightOnly(rounding="nearest").apply(net, Decision({NETWORK: "int4"}), run).net
    assert torch.equal(plain.layer("0").get_parameter("weight"), net.layer("0").get_parameter("weight"))
