"""Points by a power: the levels, the exponent that a density asks for, and what a network's weights become."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.points import put_on_points
from whet.compress.quantize.power_points import best_exponent, levels, power_points
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.errors import UnknownNameError
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid
from whet.testing.runs import AlignedTarget, planning_run

UNIFORM = (torch.arange(20001).double() + 0.5) / 20001
NORMAL = torch.special.ndtri(UNIFORM)


@pytest.mark.parametrize(("exponent", "most"), [(0.4, 7), (1.0, 3), (1.7, 5)])
def test_levels_are_what_integers_of_a_power_stand_for(exponent: float, most: int) -> None:
    """q = round(sign(w) |w|^a / s), then sign(q) |s q|^(1/a), with s = max|w|^a / K."""
    w = torch.linspace(-3.0, 3.0, 4001).double()
    s = 3.0**exponent / most
    q = (w.sign() * w.abs() ** exponent / s).round()
    assert torch.allclose((q.sign() * (q.abs() * s) ** (1 / exponent)).unique(), 3.0 * levels(exponent, most))


@pytest.mark.parametrize("exponent", [1.0, 0.9, 0.8, 0.7])
def test_the_exponent_is_that_of_the_density_by_panter_and_dite(exponent: float) -> None:
    """Levels are best as dense as the third root of the density: that of x^(a - 1) for one of x^(3 (a - 1))."""
    values = UNIFORM ** (1 / (3 * exponent - 2))
    assert best_exponent(values, torch.ones_like(values), 63) == pytest.approx(exponent, abs=0.012)


@pytest.mark.parametrize("most", [3, 7])
def test_no_other_exponent_loses_less(most: int) -> None:
    power = torch.where(NORMAL.abs() < 1, 1.0, 3.0).double()

    def lost(exponent: float) -> float:
        wanted = levels(exponent, most) * NORMAL.abs().max()
        return float((power * (NORMAL.unsqueeze(1) - wanted).square().amin(1)).sum())

    found = best_exponent(NORMAL, power, most)
    assert lost(found) <= min(lost(a) for a in torch.linspace(0.2, 2.0, 181).tolist()) * (1 + 1e-6)
    assert 0.5 < found < 0.95, "bell-shaped weights want levels dense about zero"


def test_errors_count_by_what_weights_read() -> None:
    values = torch.cat([NORMAL, NORMAL.sign() * (2 + NORMAL.abs())])
    near, far = (torch.where(values.abs() < 2, *pair) for pair in ((1.0, 1e-3), (1e-3, 1.0)))
    assert best_exponent(values, near.double(), 7) < best_exponent(values, far.double(), 7) - 0.1


def test_points_are_whole_numbers_with_zero_among_them() -> None:
    points = power_points(NORMAL * 30, torch.ones_like(NORMAL), 15)
    assert torch.equal(points, points.round()) and torch.equal(points, -points.flip(0))
    assert len(points) == 15 and float(points.max()) == round(float(NORMAL.max()) * 30)
    gaps = points[7:].diff()
    assert (gaps.diff() >= 0).all() and gaps[-1] > 1.5 * gaps[0]
    assert power_points(torch.zeros(4), torch.ones(4), 7).tolist() == [0.0]
    assert len(power_points(NORMAL * 30, torch.ones_like(NORMAL), 8)) == 7


def integers_of(layer: nn.Module) -> Tensor:
    assert isinstance(layer, IntegerWeight)
    weight = layer.get_parameter("weight").detach()  # type: ignore[attr-defined]
    assert torch.allclose(layer.integer_weight(weight), weight, atol=1e-6)
    return layer.grid.integers(weight, layer.weight_scale).unique()


def test_a_layer_takes_levels_of_one_exponent() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(40, 30)
    plain.weight.data.normal_()
    layer = quantize_weight(plain, Grid(8, points=7)).eval()
    put_on_points(layer, None, "by-power")
    found = integers_of(layer).double()
    each = [a for a in torch.linspace(0.3, 1.5, 1201).tolist() if torch.equal((levels(a, 3) * 127).round(), found)]
    assert each and 0.4 < each[0] < 0.95


def test_a_network_is_quantized_so_and_other_spacings_are_refused() -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 4)).eval(), (torch.randn(8, 30),))
    run = replace(planning_run(net), target=AlignedTarget(weight_bits=8))
    made = {
        spaced: StaticQuantization(points=7, spaced=spaced).apply(net, Decision({NETWORK: "all"}), run).net
        for spaced in ("freely", "by-power")
    }
    found = integers_of(made["by-power"].layer("0")).double()
    assert torch.equal(found, -found.flip(0)) and len(found) == 7 and found.max() == 127
    assert not torch.equal(integers_of(made["freely"].layer("0")).double(), found)
    with pytest.raises(UnknownNameError, match="by-power"):
        StaticQuantization(points=7, spaced="by-powr")
