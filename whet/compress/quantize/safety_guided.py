"""Pruned and quantized layer by layer, as far as a few samples that were chosen for it keep their outputs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from whet.compress.lockstep import Inputs
from whet.compress.moments import inputs_of
from whet.compress.quantize.rounders import NEAREST
from whet.compress.quantize.rounders import check as check_rounding
from whet.compress.quantize.weight_only import WeightOnly, weighted
from whet.compress.repair import answers
from whet.core.checks import ValueRangeError, whole
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import QUANTIZED
from whet.graph.grids import EXACT_BITS, Grid, stored_bits
from whet.graph.zeros import chosen, hold, masked

NETWORK = "network:moved"
Form = tuple[float, Grid]
"""The share of the weights that become zero, and the grid of the others."""


@dataclass(frozen=True)
class SafetyGuided:
    """Give each layer the zeros and the grid of fewest bits with which no preserved sample's output moves too far.

        |y_i - y0_i| <= moved sqrt(mean_j |y0_j|^2)    for each preserved sample i and each output y

    y0 being the original's. Layers go one after another, those of most weights first; each takes the first of its forms
    that keeps the bound, with all the layers before it as they are by then: the bound holds at the end. Forms are a
    share of `zeros`, of least magnitude, with a grid of two to eight bits, in the order of bits stored. A layer whose
    every form breaks the bound stays as it is, and is reported.

    The `preserved` samples are chosen from the first `pool` of the calibration data: one half are those on which the
    net is least sure, the others each the farthest from all chosen so far (`preservation_set`). In the paper a training
    chooses the bits, by gradients, and the preservation set decides whether to go on; its set is of uncertain samples
    and of clusters as well. Its text was known here by the abstract and a summary. Weights are rounded by `rounding`.

    Choices: `network:moved`, a share among `levels`, identity 0.0. Calibrates without labels.
    Paper: Zbeeb et al. 2025, Optimizing Deep Neural Networks using Safety-Guided Self Compression.
    Raises: ValueRangeError for levels that are negative or have no 0.0, zeros outside of [0, 1), no samples.
    """

    levels: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    zeros: tuple[float, ...] = (0.0, 0.5)
    preserved: int = 64
    pool: int = 512
    rounding: str = NEAREST
    traits = Traits("weights", needs=("calibration",))
    paper: str = field(default="zbeeb2025safety", init=False, repr=False)

    def __post_init__(self) -> None:
        check_rounding(self.rounding)
        whole("preserved", self.preserved), whole("pool", self.pool)
        if 0.0 not in self.levels or min(self.levels) < 0:
            raise ValueRangeError(f"levels must be at least 0 and include 0.0; got {self.levels!r}.")
        if not self.zeros or not all(0 <= z < 1 for z in self.zeros):
            raise ValueRangeError(f"zeros must lie in [0, 1), such as (0.0, 0.5); got {self.zeros!r}.")

    def space(self, net: Net, target: Target) -> Space:
        has_forms = {"int8", "int4"} <= set(target.kernels()) and bool(_sites(net))
        return Space([Choice(NETWORK, self.levels, 0.0)] if has_forms else [])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each level, that of least harm first."""
        return [Decision({NETWORK: v}) for v in sorted(self.levels) if v] if len(self.space(net, target)) else []

    def forms(self) -> list[Form]:
        """Return the forms of a layer, that of fewest bits first: of a zero that is held files store one bit."""
        grids = [g for g in WeightOnly().grids().values() if not g.group]
        return sorted(((z, g) for z in self.zeros for g in grids), key=lambda form: _bits(*form))

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        moved = float(decision.get(NETWORK, 0.0))
        small, done, skipped = net.copy(), dict[str, str](), dict[str, str]()
        if not moved:
            return Result(small)
        guard = Guard.of(net, inputs_of(run.task, self.pool), self.preserved, moved)
        way = WeightOnly(rounding=self.rounding)
        for site in _weighted(net):
            plain = small.layer(site)
            if type(plain) not in QUANTIZED:
                reason = way.stored(net, run, site, deepcopy(plain), Grid(EXACT_BITS))
                skipped[site] = reason if isinstance(reason, str) else "a table of rows is not pruned; it stays"
                continue
            for zeros, grid in self.forms():
                stored = way.stored(net, run, site, _pruned(plain, zeros), grid)
                assert not isinstance(stored, str)
                small.module.set_submodule(site, stored[0])
                if guard.holds(small):
                    done[site] = f"{stored[1]}, {zeros:.0%} zeros" if zeros else stored[1]
                    break
            else:
                small.module.set_submodule(site, plain)
                skipped[site] = f"in every form it moves a preserved sample's output by more than {moved:g}"
        if not done and not skipped:
            skipped["network"] = "there is no layer with weights"
        return Result(small.settle(), changes("weights", done), skipped)


@dataclass(frozen=True)
class Guard:
    """Preserved inputs, what the original gives for them, each `(samples, ...)`, and how far each may move."""

    inputs: Inputs
    outputs: tuple[Tensor, ...]
    most: tuple[float, ...]

    @classmethod
    def of(cls, net: Net, batches: list[Inputs], count: int, moved: float) -> Guard:
        """Choose the samples from batches, and say how far `moved` is for each output of floats."""
        inputs = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
        rows = preservation_set(_given(net, inputs)[0], count)
        inputs = tuple(x[rows] for x in inputs)
        outputs = _given(net, inputs)
        lengths = [float(y.square().sum(1).mean().sqrt()) for y in outputs]
        return cls(inputs, tuple(outputs), tuple(moved * length for length in lengths))

    def holds(self, net: Net) -> bool:
        """Say whether no preserved sample's output is farther from the original's than it may be."""
        pairs = zip(_given(net, self.inputs), self.outputs, self.most, strict=True)
        return all(float((y - y0).square().sum(1).max().sqrt()) <= most for y, y0, most in pairs)


def preservation_set(outputs: Tensor, count: int) -> list[int]:
    """Return which samples to preserve, of outputs `(samples, numbers)`: unsure ones, then ones unlike all before.

    The first half, rounded up, has the smallest differences between its two largest numbers; each further one is the
    farthest from those that are chosen. All are taken where there are no more.

    >>> preservation_set(torch.tensor([[9.0, 0.0], [5.0, 4.9], [4.0, 5.0], [0.0, 9.9]]), 2)
    [1, 3]
    """
    count = min(count, len(outputs))
    numbers = outputs.shape[1]
    top = outputs.topk(min(2, numbers), dim=1).values
    unsure = top[:, 0] - top[:, 1] if numbers > 1 else outputs[:, 0].abs()
    found: list[int] = torch.argsort(unsure, stable=True)[: (count + 1) // 2].tolist()
    apart = torch.cdist(outputs, outputs[found]).amin(1) if found else torch.full((len(outputs),), torch.inf)
    while len(found) < count:
        apart[found] = -1.0
        found.append(int(apart.argmax()))
        apart = torch.minimum(apart, (outputs - outputs[found[-1]]).norm(dim=1))
    return found


def _given(net: Net, inputs: Inputs) -> list[Tensor]:
    """Return the outputs of floats, in float64, a row a sample."""
    (given,) = answers(net, [inputs])
    return [y.double().flatten(1) for y in given if y.is_floating_point()]


def _bits(zeros: float, grid: Grid) -> float:
    return (1 - zeros) * stored_bits(grid) + (zeros > 0)


def _pruned(layer: nn.Module, zeros: float) -> nn.Module:
    """Return a copy of a layer whose least weights are zero, and held so."""
    found = deepcopy(layer)
    if zeros:
        weights = {"": found.get_parameter("weight")}
        masked(weights, chosen({"": weights[""].detach()}, zeros))
        hold(found)
    return found


def _weighted(net: Net) -> list[str]:
    """Return the layers with weights, those of most first."""
    return sorted(weighted(net), key=lambda n: -sum(p.numel() for p in net.layer(n).parameters()))


def _sites(net: Net) -> list[str]:
    return [name for name in _weighted(net) if type(net.layer(name)) in QUANTIZED]
