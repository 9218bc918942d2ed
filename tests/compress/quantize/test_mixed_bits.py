"""Bits shared out: conformance, no more bytes than one grid for all, fewer as the drop allows, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.allocation import ENGINES
from whet.compress.quantize.mixed_bits import BITS, STEPS, WITHIN, MixedBits, quality
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.checks import ValueRangeError
from whet.core.errors import UnknownNameError
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid, stored_bits
from whet.testing.passes import check, outputs
from whet.testing.runs import AlignedTarget, planning_run


def small_net(scale: float = 1.0) -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))
    module[2].weight.data *= scale
    return whet.lift(module.eval(), (torch.randn(2, 24),))


class Uneven(nn.Module):
    """A convolution at 64 positions, and a linear layer of many weights that hardly counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.wide = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(192, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, 5) of images (N, 3, 8, 8)."""
        y: Tensor = self.conv(x).relu().mean((2, 3)) + 0.02 * self.wide(x.flatten(1))
        return y


def bits(net: Net) -> dict[str, float]:
    layers = {n: m for n, m in net.layers().items() if isinstance(m, IntegerWeight)}
    return {n: stored_bits(m.grid) for n, m in layers.items()}


def error(net: Net, result: Result, x: Tensor) -> float:
    (wanted,), (found,) = outputs(net, x), outputs(result.net, x)
    return float((wanted - found).square().sum() / (wanted - wanted.mean(0)).square().sum())


@pytest.mark.parametrize("engine", ENGINES)
def test_conforms(engine: str) -> None:
    net = small_net()
    space = check(MixedBits(engine=engine, samples=8, validation=8), net, AlignedTarget(), planning_run(net), count=1)
    assert space.choices[BITS].values == ("float", "int4", "int3", "5 levels", WITHIN)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_more_bits_than_with_one_grid_for_all(engine: str) -> None:
    net = small_net()
    run = planning_run(net)
    weights = {n: net.layer(n).get_parameter("weight").numel() for n in ("0", "2", "4")}
    for uniform in (Grid(4), Grid(3)):
        result = MixedBits(engine=engine, samples=16).apply(net, Decision({BITS: uniform.name}), run)
        given = bits(result.net)
        assert sum(weights[n] * b for n, b in given.items()) <= stored_bits(uniform) * sum(weights.values()) + 1e-6
        assert given.keys() == weights.keys() and all(f"by {engine}" in c.text for c in result.changed)


@pytest.mark.parametrize("engine", ["perturbation", "dependencies"])
def test_a_layer_that_hardly_counts_pays_for_the_others(engine: str) -> None:
    """The middle layer's outputs are small beside its bias: its bits go elsewhere, and the outputs gain."""
    net, x = small_net(scale=0.05), torch.randn(200, 24, generator=torch.Generator().manual_seed(3))
    run = planning_run(net)
    mixed = MixedBits(engine=engine, rounding="nearest").apply(net, Decision({BITS: "int3"}), run)
    uniform = WeightOnly(rounding="nearest").apply(net, Decision({NETWORK: "int3"}), run)
    assert bits(mixed.net)["2"] < bits(mixed.net)["4"]
    assert error(net, mixed, x) < 0.8 * error(net, uniform, x)


def test_the_drop_decides_by_bisection() -> None:
    """A metric that tells the mean bits: the result has the fewest of those that were looked at within the drop."""
    net = small_net()
    run = planning_run(net)
    wanted = outputs(net, *[x[0] for x, _ in run.task.val[:1]])[0]
    asked: list[float] = []

    def metric(found: Tensor, targets: Tensor) -> float:
        lost = float((found[: len(wanted)] - wanted).square().mean().sqrt() / wanted.std())
        asked.append(lost)
        return 1 - lost

    run = replace(run, task=replace(run.task, metric=metric))
    item = MixedBits(engine="dependencies", max_drop=0.25, validation=8)
    result = item.apply(net, Decision({BITS: WITHIN}), run)
    drop = 1 - quality(result.net, run, 8)
    assert len(asked) == STEPS + 2 and drop <= 0.25
    weights = {n: net.layer(n).get_parameter("weight").numel() for n in bits(result.net)}
    mean = sum(weights[n] * b for n, b in bits(result.net).items()) / sum(weights.values())
    assert mean < 6 and any(lost > 0.25 for lost in asked), "some were beyond the drop"
    strict = replace(item, max_drop=0.0).apply(net, Decision({BITS: WITHIN}), run)
    assert set(bits(strict.net).values()) == {8.0}


def test_operations_are_no_more_than_with_one_grid_for_all() -> None:
    """A convolution at many positions has most operations and few weights: without a limit it gets most bits."""
    torch.manual_seed(0)
    net = whet.lift(Uneven().eval(), (torch.randn(2, 3, 8, 8),))
    run, decision = planning_run(net), Decision({BITS: "int4"})
    free = MixedBits().apply(net, decision, run).net.layer("conv")
    held = MixedBits(limits=("operations",)).apply(net, decision, run).net.layer("conv")
    assert isinstance(free, IntegerWeight) and isinstance(held, IntegerWeight)
    assert free.grid.bits == 8 and held.grid.bits <= 4


def test_options_that_cannot_be_meant() -> None:
    with pytest.raises(UnknownNameError, match="unknown engine 'orthogonal'"):
        MixedBits(engine="orthogonal")
    with pytest.raises(UnknownNameError, match=r"unknown limit 'size'.*Allowed: latency, operations"):
        MixedBits(limits=("size",))
    with pytest.raises(ValueRangeError, match="'perturbation' alone; got engine 'dependencies'"):
        MixedBits(engine="dependencies", limits=("latency",))
    one = whet.lift(nn.Sequential(nn.Linear(4, 2)).eval(), (torch.randn(2, 4),))
    assert not len(MixedBits().space(one, AlignedTarget()))  # type: ignore[arg-type]
    skipped = MixedBits().apply(one, Decision({BITS: "int4"}), planning_run(one)).skipped
    assert skipped == {"network": "it has not two layers to share bits out among."}
