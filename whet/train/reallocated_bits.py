"""Bit widths that move between layers while they train: always the best within the budget of the beginning."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, positive, share, whole
from whet.decisions.bounded import by_bounded_programme
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid, stored_bits
from whet.train.technique import Hooks, Session

NAME = "reallocated-bits"
WIDTHS = (4, 3, 2)
"""What files have a form for, of grids whose steps are learned: in one training all layers do, or none."""


@dataclass(frozen=True)
class ReallocatedBits:
    """Layers on plain grids exchange bits while they train, never more in all than they began with.

        min over b  sum_l E_l(b_l),    E_l(b) = sum_i F_i (v_i - Q_b(v_i))^2      s.t.  sum_l n_l bits(b_l) <= budget
        F <- decay F + (1 - decay) grad^2

    over one of `bits` a layer of n_l weights v; F_i is the empirical Fisher information of weight i: what its squared
    error costs in loss, to second order, told by the gradients that training has anyway. `times` times, evenly over the
    first `until` of the training, the programme is solved exactly and each layer put on its grid, so the budget, the
    bits that files take for the grids of the beginning, holds in every step. Afterwards bits rest and weights settle.
    The steps of a new grid are those of least squared error, and learned from there (`train.learned-steps`).

    Layers of eight bits, in groups, of points or of five levels stay, and inputs' bits, which the paper moves too. Its
    text was known here by the abstract: the sensitivity is the one usual where it must be fast, the solver is ours.

    Paper: Peters et al. 2023, QBitOpt: Fast and Accurate Bitwidth Reallocation during Training.
    Raises: ValueRangeError for other bits than two or three of `WIDTHS`, a share outside of [0, 1], no times.
    """

    bits: tuple[int, ...] = (4, 3, 2)
    times: int = 10
    until: float = 0.5
    decay: float = 0.95
    paper: str = field(default="peters2023qbitopt", init=False, repr=False)

    def __post_init__(self) -> None:
        if len(set(self.bits)) < 2 or not set(self.bits) <= set(WIDTHS):
            raise ValueRangeError(f"bits must be two or three of {WIDTHS}; got {self.bits!r}.")
        whole("times", self.times)
        positive("until", self.until)
        share("until", self.until)
        share("decay", self.decay)

    def begin(self, session: Session) -> Hooks:
        layers = self._plain(session)
        if len(layers) < 2:
            session.report.skipped[NAME] = "there are no two layers on plain grids to share bits out among"
            return Hooks()
        fisher = {n: session.keep(f"{NAME}.{n}", torch.zeros_like(_weight(m))) for n, m in layers.items()}
        budget = session.keep(f"{NAME}.budget", torch.tensor(bits_of(layers), dtype=torch.float64))
        done = session.keep(f"{NAME}.done", torch.zeros((), dtype=torch.long))

        @torch.no_grad()
        def before_step() -> None:
            for name, layer in layers.items():
                gradient = _weight(layer).grad
                if gradient is not None:
                    fisher[name].lerp_(gradient.square(), 1 - self.decay)

        def after_step() -> None:
            due = int(min(session.progress() / self.until, 1.0) * self.times)
            if due > done:
                done.fill_(due)
                self.reallocate(layers, fisher, float(budget))

        return Hooks(before_step=before_step, after_step=after_step)

    @torch.no_grad()
    def reallocate(self, layers: dict[str, IntegerWeight], fisher: dict[str, Tensor], budget: float) -> None:
        """Put each layer on the grid that costs least within so many bits in all, in place.

        By name, `fisher` has the shape of the layer's weight.
        """
        grids = [Grid(bits) for bits in sorted(set(self.bits), reverse=True)]
        costs = [[cost(_weight(layer), fisher[n], grid) for grid in grids] for n, layer in layers.items()]
        sizes = [[_weight(layer).numel() * stored_bits(grid) for grid in grids] for layer in layers.values()]
        picked = by_bounded_programme(costs, [(sizes, budget * (1 + 1e-9))])
        for layer, index in zip(layers.values(), picked, strict=True):
            if layer.grid != grids[index]:
                layer.regrid(_weight(layer), grids[index])

    def _plain(self, session: Session) -> dict[str, IntegerWeight]:
        """Return the layers whose grid is one of the bits alone; say of the others why they stay."""
        found = {n: m for n, m in session.module.named_modules() if isinstance(m, IntegerWeight)}
        for name, layer in found.items():
            if not self._takes(layer):
                session.report.skipped[name] = f"its grid, {layer.grid.name}, is none of {self.bits} bits alone"
        return {n: m for n, m in found.items() if self._takes(m)}

    def _takes(self, layer: IntegerWeight) -> bool:
        return layer.grid in [Grid(bits) for bits in self.bits]


def cost(weight: Tensor, fisher: Tensor, grid: Grid) -> float:
    """Return sum_i F_i (v_i - Q(v_i))^2 of a weight on the grid's own steps; fisher has the weight's shape.

    >>> cost(torch.tensor([[1.0, 0.6, 0.0]]), torch.tensor([[1.0, 2.0, 5.0]]), Grid(8)) < 1e-4
    True
    """
    rows, nearest = grid.rows(weight), grid.nearest(weight, grid.scale(weight))
    return float((grid.rows(fisher).double() * (rows - nearest).double().square()).sum())


def bits_of(layers: dict[str, IntegerWeight]) -> float:
    """Return the bits that files take for the weights of layers."""
    return sum(_weight(layer).numel() * stored_bits(layer.grid) for layer in layers.values())


def _weight(layer: IntegerWeight) -> Tensor:
    weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
    return weight
