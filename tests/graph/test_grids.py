"""Grids of integers: the nearest number of each, and the scale of the least squared error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import QUANTIZED, quantize_weight
from whet.graph.grids import CLIPS, INT8, Grid


def error(grid: Grid, weight: torch.Tensor, scale: torch.Tensor) -> float:
    rows = grid.rows(weight)
    on_grid = torch.clamp(torch.round(rows / scale[:, None]), -grid.most, grid.most) * scale[:, None]
    return float((rows - on_grid).square().sum())


def test_eight_bits_reach_the_largest_value_of_each_channel() -> None:
    weight = torch.randn(6, 3, 3, 3)
    assert torch.equal(INT8.scale(weight), weight.abs().amax((1, 2, 3)) / 127)
    assert INT8.integers(weight, INT8.scale(weight)).abs().amax().item() == 127


@pytest.mark.parametrize("grid", [Grid(4), Grid(3), Grid(4, 16), Grid(2, 8)])
def test_few_bits_have_the_scale_of_the_least_squared_error(grid: Grid) -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 512)
    best, widest = grid.scale(weight), grid.rows(weight).abs().amax(1) / grid.most
    assert error(grid, weight, best) == pytest.approx(
        sum(
            min(error(grid, row[None], (w * c)[None]) for c in CLIPS)
            for row, w in zip(grid.rows(weight)[:], widest, strict=True)
        ),
        rel=1e-4,
    )
    assert error(grid, weight, best) < 0.97 * error(grid, weight, widest)
    assert grid.integers(weight, best).abs().max() <= grid.most


def test_a_scale_a_group_errs_less_than_one_a_channel() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 64) * torch.logspace(-2, 0, 64)
    grouped, plain = Grid(4, 16), Grid(4)
    assert grouped.rows(weight).shape == (16, 16) and plain.rows(weight).shape == (4, 64)
    assert error(grouped, weight, grouped.scale(weight)) < 0.6 * error(plain, weight, plain.scale(weight))


def test_where_a_group_does_not_divide_a_channel_there_is_a_scale_a_channel() -> None:
    weight = torch.randn(4, 3, 3, 3)
    assert Grid(4, 32).group_of(weight) == 27 and len(Grid(4, 32).scale(weight)) == 4
    assert Grid(4, 9).group_of(weight) == 9 and len(Grid(4, 9).scale(weight)) == 12


def test_bits_and_groups_are_whole_numbers() -> None:
    for wrong in ({"bits": 1}, {"bits": 4, "group": -1}):
        with pytest.raises(ValueRangeError):
            Grid(**wrong)


@pytest.mark.parametrize("grid", [Grid(4), Grid(4, 8)])
@pytest.mark.parametrize("layer", [nn.Linear(16, 8), nn.Conv2d(8, 5, 3), nn.Conv1d(8, 6, 3)])
def test_a_layer_computes_with_the_weight_on_its_grid_and_trains_through_it(layer: nn.Module, grid: Grid) -> None:
    torch.manual_seed(0)
    weight = layer.get_parameter("weight")
    own = quantize_weight(layer, grid).eval()
    assert type(own) is QUANTIZED[type(layer)] and grid.name in repr(own)
    scale = grid.scale(weight)
    expected = (grid.integers(weight, scale).view(len(scale), -1) * scale[:, None]).view_as(weight)
    plain = type(layer)(*((16, 8) if isinstance(layer, nn.Linear) else (8, len(weight), 3)))
    plain.load_state_dict({"weight": expected, "bias": layer.get_parameter("bias")})
    x = torch.randn(2, 16) if isinstance(layer, nn.Linear) else torch.randn(2, 8, *[9] * (weight.dim() - 2))
    torch.testing.assert_close(own(x), plain(x))
    own.train()
    with torch.no_grad():
        own.get_parameter("weight").mul_(3)
    own(x).sum().backward()
    torch.testing.assert_close(own.weight_scale, grid.scale(weight))
    assert weight.grad is not None and weight.grad.abs().sum() > 0
