"""Who gets how many bits: the problem that is shared out, and the engines that solve it, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module

import torch
from torch import Tensor

from whet.compress.lockstep import Inputs
from whet.compress.repair import answers
from whet.core.errors import unknown
from whet.core.net import Net
from whet.graph.grids import Grid, stored_bits

ENGINES = {
    "perturbation": "whet.compress.quantize.perturbation:by_perturbation",
    "dependencies": "whet.compress.quantize.dependencies:by_dependencies",
    "orthogonality": "whet.compress.quantize.orthogonality:by_orthogonality",
}
"""By name the `Engine`s."""
KEPT = 2**16
"""Numbers of an output that are looked at, drawn and the same every time."""
PLAIN, DEVIATIONS = "outputs as they are", "deviations of outputs"
"""Under which names, which no layer has, the problem remembers these."""
Share = dict[str, Grid]
"""By layer the grid that its weights get."""


@dataclass(frozen=True)
class Allocation:
    """Layers whose weights get grids, all of them together no more bits than `most_bits`.

    `grids` are what a layer may have, those of most bits first; `weights` says by layer how many weights it has, in the
    order of execution; `rounded(site, grid)` gives a layer's weight on a grid, in the weight's own shape. `more` are
    further sums with limits, by layer and grid: operations of bits, or milliseconds that were measured.
    """

    net: Net
    batches: Sequence[Inputs]
    grids: tuple[Grid, ...]
    weights: Mapping[str, int]
    rounded: Callable[[str, Grid], Tensor]
    most_bits: float
    more: tuple[tuple[Mapping[tuple[str, Grid], float], float], ...] = ()
    _kept: dict[tuple[str, Grid | None], Tensor] = field(default_factory=dict)

    def within(self, most_bits: float) -> Allocation:
        """Return the same problem with another limit of bits; what was found out about layers stays known."""
        return replace(self, most_bits=most_bits)

    def bits(self, share: Mapping[str, Grid]) -> float:
        """Return the bits of all weights on their grids."""
        return sum(self.weights[site] * stored_bits(grid) for site, grid in share.items())

    def change(self, site: str, grid: Grid) -> Tensor:
        """Return what rounding one layer alone does to the outputs, `(numbers,)`, in deviations of each output.

        To second order in the weights' change d its squared length, over the numbers, is d H d, where H is the Hessian
        of the outputs' squared error: nothing but the net itself is asked for, no label and no gradient.
        """
        if (site, grid) not in self._kept:
            if (PLAIN, None) not in self._kept:
                self._kept[PLAIN, None] = drawn(answers(self.net, self.batches), self.deviations())
            weight = self.net.layer(site).get_parameter("weight")
            before = weight.detach().clone()
            with torch.no_grad():
                weight.copy_(self.rounded(site, grid))
                found = drawn(answers(self.net, self.batches), self.deviations())
                weight.copy_(before)
            self._kept[site, grid] = found - self._kept[PLAIN, None]
        return self._kept[site, grid]

    def deviations(self) -> list[float]:
        """Return the deviation of each output of floats over the calibration inputs, about its mean."""
        if (DEVIATIONS, None) not in self._kept:
            parts = list(zip(*answers(self.net, self.batches), strict=True))
            spread = [torch.cat([p.double() for p in part]) for part in parts if part[0].is_floating_point()]
            found = [(x - x.mean(0)).square().mean().sqrt().clamp(min=1e-12) for x in spread]
            self._kept[DEVIATIONS, None] = torch.stack(found)
        return [float(x) for x in self._kept[DEVIATIONS, None]]


Engine = Callable[[Allocation], Share]
"""Shares bits out: returns a grid for each layer of the problem, within its limits."""


def drawn(outputs: Sequence[Sequence[Tensor]], deviations: Sequence[float]) -> Tensor:
    """Return numbers of all outputs of floats, each over its deviation: at most `KEPT` an output, `(numbers,)`."""
    found = []
    parts = [part for part in zip(*outputs, strict=True) if part[0].is_floating_point()]
    for part, deviation in zip(parts, deviations, strict=True):
        flat = torch.cat([p.flatten() for p in part])
        if len(flat) > KEPT:
            flat = flat[torch.randint(len(flat), (KEPT,), generator=torch.Generator().manual_seed(0))]
        found.append(flat.double() / deviation)
    return torch.cat(found)


def check(name: str) -> str:
    """Return the name of an engine. Raises: UnknownNameError for one that there is not."""
    if name not in ENGINES:
        raise unknown("engine", str(name), ENGINES)
    return name


def engine(name: str) -> Engine:
    """Return an engine by its name among `ENGINES`."""
    module, _, attribute = ENGINES[check(name)].partition(":")
    found: Engine = getattr(import_module(module), attribute)
    return found
