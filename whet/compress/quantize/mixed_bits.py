"""Bits shared out among layers: as many bytes as one grid for all, or as few as a drop allows."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from whet.compress.lockstep import limited
from whet.compress.moments import inputs_of
from whet.compress.quantize.allocation import Allocation, Share, check, engine
from whet.compress.quantize.layer_latency import layer_latencies
from whet.compress.quantize.rounders import COMPENSATED
from whet.compress.quantize.rounders import check as check_rounding
from whet.compress.quantize.weight_only import EACH, NETWORK, WeightOnly, weighted
from whet.core.checks import ValueRangeError
from whet.core.errors import unknown
from whet.core.net import Net
from whet.core.passes import Change, Result, Traits
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.core.task import predict
from whet.graph.fake_quantize import QUANTIZED
from whet.graph.grids import Grid, stored_bits
from whet.graph.last_known import LastKnown, Only, weights_version
from whet.graph.operations import operations_by_layer
from whet.graph.readers import find_readers

BITS = "network:bits"
_problems = LastKnown[Allocation]()
OFF, WITHIN = "float", "within the drop"
LIMITS = ("operations", "latency")
STEPS = 6
"""Bisections of the limit of bits: to a tenth of a bit between two and eight."""
FEWEST = 2
"""Layers from which on there is something to share out."""


@dataclass(frozen=True)
class MixedBits:
    """Store the weights of each layer on a grid of its own, as an engine shares the bits out.

    `engine` is one of `compress.quantize.allocation`: `perturbation` (curvature and an integer programme, under further
    `limits` if asked for), `dependencies` (curvature with terms between layers, step by step) or `orthogonality` (a
    linear programme over how alike layers' outputs are). Weights are rounded as `quantize.weight-only` does it, by
    `rounding`; they are multiplied in floats.

    Choices: `network:bits` is `float`, one of `int4`, `int3`, `5 levels`: no more bits than if all layers had this
    grid; or `within the drop`: as few bits as keep the metric within `max_drop` of the network's, on the first
    `validation` samples of the validation data, found by bisection. Of `limits`, `operations` are those of bits (a
    multiplication of 32-bit inputs counts the bits of its weight) and `latency` is measured layer by layer on the
    target; both are then no more than with one grid for all.
    Calibrates on `samples` inputs without labels. Raises: CalibrationError where there are none.
    """

    engine: str = "perturbation"
    rounding: str = COMPENSATED
    samples: int = 32
    max_drop: float = 0.01
    validation: int = 1000
    limits: tuple[str, ...] = ()
    traits = Traits("weights", needs=("calibration",))

    def __post_init__(self) -> None:
        check(self.engine)
        check_rounding(self.rounding)
        for name in self.limits:
            if name not in LIMITS:
                raise unknown("limit", str(name), LIMITS)
        if self.limits and self.engine != "perturbation":
            raise ValueRangeError(f"limits are kept by the engine 'perturbation' alone; got engine {self.engine!r}.")

    def space(self, net: Net, target: Target) -> Space:
        if "int4" not in target.kernels() or len(_sites(net)) < FEWEST:
            return Space()
        return Space([Choice(BITS, (OFF, *(g.name for g in self.grids()[1:-1]), WITHIN), OFF)])

    def grids(self) -> tuple[Grid, ...]:
        """Return the grids that layers may have, that of most bits first."""
        return tuple(g for g in WeightOnly().grids().values() if not g.group)

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return the bits of four throughout, and what the drop allows."""
        return [Decision({BITS: v}) for v in ("int4", WITHIN)] if len(self.space(net, target)) else []

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        value = str(decision.get(BITS, OFF))
        if value == OFF:
            return Result(net.copy())
        sites = _sites(net)
        if len(sites) < FEWEST:
            return Result(net.copy(), skipped={"network": "it has not two layers to share bits out among."})
        problem = self.problem(net, run, sites)
        if value == WITHIN:
            return self._within(net, run, problem)
        uniform = next(g for g in self.grids() if g.name == value)
        share = engine(self.engine)(self.limited(problem, uniform, run))
        return self._applied(net, run, share, uniform)

    def problem(self, net: Net, run: Run, sites: Mapping[str, int]) -> Allocation:
        """Return the problem whose limit is the bits of the widest grid; what it finds out is kept for the network."""
        version = weights_version(net), Only(run.task), self.rounding, self.samples
        return _problems.of(net, version, lambda: self._problem(net, run, sites))

    def _problem(self, net: Net, run: Run, sites: Mapping[str, int]) -> Allocation:
        net, grids, way = net.copy(), self.grids(), WeightOnly(rounding=self.rounding)

        def rounded(site: str, grid: Grid) -> Tensor:
            stored = way.stored(net, run, site, deepcopy(net.layer(site)), grid)  # it is rounded in place
            assert not isinstance(stored, str)
            weight = stored[0].get_parameter("weight").detach()
            return stored[0].eval().integer_weight(weight)  # type: ignore[operator, no-any-return]

        batches = limited(inputs_of(run.task, self.samples), self.samples)
        return Allocation(net, batches, grids, sites, rounded, sum(sites.values()) * stored_bits(grids[0]))

    def limited(self, problem: Allocation, uniform: Grid, run: Run) -> Allocation:
        """Return the problem with no more bits, and of each of the `limits` no more, than with one grid for all."""
        tables = []
        for name in self.limits:
            table = _operations(problem) if name == "operations" else layer_latencies(problem, run.target)
            tables.append((table, sum(table[site, uniform] for site in problem.weights)))
        most = sum(problem.weights.values()) * stored_bits(uniform)
        return replace(problem, most_bits=most, more=tuple(tables))

    def _applied(self, net: Net, run: Run, share: Share, others: Grid) -> Result:
        """Put each layer on its grid, and layers that are not shared out on that of the others."""
        each = {f"{n}:weights": share.get(n, others).name for n in weighted(net)}
        result = WeightOnly(rounding=self.rounding).apply(net, Decision({NETWORK: EACH, **each}), run)
        changed = tuple(Change(c.site, c.kind, f"{c.text}, by {self.engine}") for c in result.changed)
        return Result(result.net, changed, result.skipped)

    def _within(self, net: Net, run: Run, problem: Allocation) -> Result:
        """Bisect the limit of bits: the fewest whose drop is within the limit; the most there are if none is."""
        weights, grids = sum(problem.weights.values()), self.grids()
        low, high = (weights * stored_bits(g) for g in (grids[-1], grids[0]))
        best = self._applied(net, run, dict.fromkeys(problem.weights, grids[0]), grids[0])
        reference = quality(net, run, self.validation)
        for _ in range(STEPS):
            middle = (low + high) / 2
            found = self._applied(net, run, engine(self.engine)(problem.within(middle)), grids[0])
            drop = run.task.loss_of_quality(quality(found.net, run, self.validation), reference)
            low, high, best = (low, middle, found) if drop <= self.max_drop else (middle, high, best)
        return best


@torch.no_grad()
def quality(net: Net, run: Run, samples: int) -> float:
    """Return the metric of a network on the first validation samples."""
    with net.evaluating():
        return run.task.score(*predict(net.module, run.task.val, samples))


def _sites(net: Net) -> dict[str, int]:
    """Return the weights of each layer that bits are shared out among, in the order of execution."""
    layers, readers = net.layers(), find_readers(net)[0].values()
    found = [r.site for r in readers if r.site in layers and type(layers[r.site]) in QUANTIZED]
    return {site: layers[site].get_parameter("weight").numel() for site in found}


def _operations(problem: Allocation) -> dict[tuple[str, Grid], float]:
    """Return the operations of bits of each layer on each grid: a product with a weight of b bits counts 32 b."""
    counted = operations_by_layer(problem.net)
    return {(s, g): counted.get(s, 0) / 2 * 32 * g.bits for s in problem.weights for g in problem.grids}
