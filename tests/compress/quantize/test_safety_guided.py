"""SafetyGuided by preserved samples: which these are, the bound on each, and that no form of fewer bits keeps it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.moments import inputs_of
from whet.compress.quantize.safety_guided import NETWORK, Guard, SafetyGuided, preservation_set
from whet.compress.quantize.weight_only import WeightOnly
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid, stored_bits
from whet.graph.zeros import holds
from whet.testing.passes import check, outputs
from whet.testing.runs import AlignedTarget, planning_run


def network() -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 4))
    return whet.lift(module.eval(), (torch.randn(2, 12),))


def preserved(net: Net, item: SafetyGuided, moved: float) -> Guard:
    return Guard.of(net, inputs_of(planning_run(net).task, item.pool), item.preserved, moved)


def farthest(net: Net, small: Net, guard: Guard) -> float:
    """Return by hand how far the output that moved most did, in root mean squares of the original's."""
    (before,), (after,) = outputs(net, *guard.inputs), outputs(small, *guard.inputs)
    return float((after - before).norm(dim=1).max() / before.square().sum(1).mean().sqrt())


def test_half_of_the_samples_are_the_least_sure_and_each_other_is_the_farthest_from_all_before() -> None:
    y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    found = preservation_set(y, 9)
    two = y.sort(1, descending=True).values
    margins = two[:, 0] - two[:, 1]
    assert set(found[:5]) == set(margins.argsort()[:5].tolist()) and len(set(found)) == 9
    for at in range(5, 9):
        apart = [min(float((y[i] - y[j]).norm()) for j in found[:at]) for i in range(40)]
        assert apart[found[at]] == pytest.approx(max(apart))
    assert sorted(preservation_set(y, 100)) == list(range(40))
    assert preservation_set(torch.tensor([[3.0], [-0.5], [1.0]]), 1) == [1]


@pytest.mark.parametrize("moved", [0.05, 0.2])
def test_no_preserved_output_moves_farther_and_no_layer_could_have_fewer_bits(moved: float) -> None:
    net, item = network(), SafetyGuided(preserved=12)
    result = item.apply(net, Decision({NETWORK: moved}), planning_run(net))
    guard = preserved(net, item, moved)
    assert 0 < farthest(net, result.net, guard) <= moved and result.texts.keys() == {"0", "2", "4"}
    last = "4"  # of fewest weights: all others are as they were when it was chosen
    found = form_of(result.net.layer(last))
    for zeros, grid in item.forms()[: item.forms().index(found)]:
        other = result.net.copy()
        other.module.set_submodule(last, made(net.layer(last), zeros, grid))
        assert farthest(net, other, guard) > moved, f"{grid.name} with {zeros} zeros would have kept the bound"


def made(layer: nn.Module, zeros: float, grid: Grid) -> nn.Module:
    """Return a layer in a form, by hand."""
    weight = layer.get_parameter("weight").detach()
    order = weight.abs().flatten().argsort(stable=True)
    kept = weight.flatten().clone()
    kept[order[: int(zeros * len(order) + 0.5)]] = 0.0
    kept = kept.view_as(weight)
    s = grid.scale(kept).unsqueeze(1)
    found = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        found.weight.copy_(s * (kept / s).round().clamp(-grid.most, grid.most))
        found.bias.copy_(layer.get_parameter("bias"))
    return found


def form_of(layer: nn.Module) -> tuple[float, Grid]:
    assert isinstance(layer, IntegerWeight)
    return 0.5 * holds(layer), layer.grid  # type: ignore[arg-type]


def stored(net: Net) -> float:
    """Return the bits of all weights."""
    total = 0.0
    for layer in net.layers().values():
        if isinstance(layer, nn.Linear):
            zeros, grid = form_of(layer)
            total += layer.weight.numel() * ((1 - zeros) * stored_bits(grid) + (zeros > 0))
    return total


def test_forms_come_by_the_bits_that_are_stored() -> None:
    bits = [(1 - z) * stored_bits(g) + (z > 0) for z, g in SafetyGuided().forms()]
    assert bits == sorted(bits) and len(bits) == 2 * len([g for g in WeightOnly().grids().values() if not g.group])
    assert SafetyGuided().forms()[0] == (0.0, Grid(2)) and SafetyGuided().forms()[-1] == (0.0, Grid(8))


def test_what_may_move_farther_has_fewer_bits_and_zeros_that_are_held() -> None:
    net = network()
    for layer in net.layers().values():
        if isinstance(layer, nn.Linear):  # most weights next to nothing
            layer.weight.data.mul_(30 * layer.weight.data.abs() ** 2 * layer.weight.shape[1])
    bits, some = [], False
    for moved in (0.02, 0.1, 0.3):
        small = SafetyGuided(preserved=12).apply(net, Decision({NETWORK: moved}), planning_run(net)).net
        bits.append(stored(small))
        for layer in small.layers().values():
            if holds(layer):
                weight = layer.integer_weight(layer.weight)  # type: ignore[operator]
                some |= bool((weight == 0).double().mean() >= 0.5)
    assert bits[0] > bits[1] > bits[2] and some


def test_a_layer_that_no_form_is_good_enough_for_stays_and_is_reported() -> None:
    net = network()
    result = SafetyGuided(preserved=12).apply(net, Decision({NETWORK: 1e-4}), planning_run(net))
    assert not result.changed and set(result.skipped) == {"0", "2", "4"}
    assert result.skipped["0"] == "in every form it moves a preserved sample's output by more than 0.0001"
    x: Tensor = net.example[0]
    assert torch.equal(outputs(result.net, x)[0], outputs(net, x)[0])


def test_conforms_and_senseless_options_are_refused() -> None:
    net = network()
    assert check(SafetyGuided(preserved=8), net, AlignedTarget(), planning_run(net), count=2)
    for options in ({"levels": (0.1,)}, {"levels": (0.0, -0.1)}, {"zeros": (1.0,)}, {"zeros": ()}, {"preserved": 0}):
        with pytest.raises(ValueRangeError):
            SafetyGuided(**options)  # type: ignore[arg-type]
