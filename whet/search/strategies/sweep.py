"""A Pareto front of forecasts: an exact programme solved for one budget after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.core.errors import unknown
from whet.core.space import Decision, Space
from whet.decisions.enumerate import draw
from whet.search.programme import by_dynamic_programme
from whet.search.strategies.alternating import apart
from whet.search.strategies.sensitivity import Sensitivity

PROGRAMMES = ("integer", "dynamic")
LADDER = 24
WARM_UP = 12


class Sweep(Sensitivity):
    """Fit a linear forecast to each objective, solve for a ladder of budgets, propose the solution farthest from all.

    `integer` bounds the damage and finds the least latency by an integer programme (Dong et al. 2021, HAO:
    Hardware-aware Neural Architecture Optimization for Efficient Inference, which sweeps the accuracy and
    prunes its space by such a programme); `dynamic` bounds the latency and finds the least damage by dynamic
    programming (the selection of Kim et al. 2024, LayerMerge). Both take the means of the forecasts where
    `sensitivity` draws from their posteriors, and begin with `WARM_UP` random decisions unless effects were `believe`d.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"),
        programme: str = "integer",
    ) -> None:  # fmt: skip
        if programme not in PROGRAMMES:
            raise unknown("programme", programme, PROGRAMMES)
        super().__init__(space, seed, directions)
        self.programme = programme

    def propose(self) -> Decision:
        """Return the new solution of the ladder that is forecast to lie farthest from what was measured."""
        entries = self.ledger.entries
        known = self.points()
        if len(self.space) and len(known) and (self.believed or len(entries) >= WARM_UP):
            new = list(dict.fromkeys(d for d in self.ladder() if d not in entries))
            if new:
                points = np.array([(self.latency(d), self.damage(d)) for d in new])
                return new[apart(points, known, 1)[0]]
        return draw(self.space, self.ledger.rng(), entries)

    def ladder(self) -> list[Decision]:
        """Return the solutions for budgets from nothing to everything."""
        if self.programme == "integer":
            most = max((o.values[1] for o in self.ledger.measured()), default=0.1)
            budgets = np.geomspace(max(most, 1e-6) * 1e-3, max(most, 1e-6), LADDER)
            return [self.solve(self.latency.mean, self.damage.mean, float(b)) for b in budgets]
        costs = [[g - min(row) for g in row] for row in self.latency.effects(self.latency.mean)]
        harms = self.damage.effects(np.maximum(self.damage.mean, 0.0))
        whole = sum(max(row) for row in costs)
        return [self.taken(by_dynamic_programme(costs, harms, whole * i / LADDER)) for i in range(LADDER)]
