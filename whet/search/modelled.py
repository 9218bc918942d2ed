"""`Modelled`: what strategies share that learn from the figures of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import draw
from whet.decisions.genes import Genes, Rows
from whet.decisions.ledger import LedgerStrategy
from whet.decisions.pareto import Points, ranks

PENALTY = 10.0
"""How many times the range of an objective a violation of one counts."""


class Modelled(LedgerStrategy):
    """Draws uniformly until `warm_up` decisions are out; then takes the first new one of `candidates`.

    Where there is none, or nothing measured to learn from, it draws again.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), warm_up: int = 12
    ) -> None:
        super().__init__(space, seed, directions)
        self.warm_up = warm_up
        self._signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])

    @cached_property
    def genes(self) -> Genes:
        """Decisions as rows of value indices, and back."""
        return Genes(self.space, self.operations)

    def candidates(self) -> Iterable[Decision]:
        """Return decisions worth measuring, the best first, from what the ledger holds."""
        raise NotImplementedError

    def propose(self) -> Decision:
        """Return the first new candidate once enough is measured, else a decision drawn at random."""
        entries = self.ledger.entries
        if len(entries) >= self.warm_up and len(self.ledger.measured()) > 1 and len(self.space):
            for decision in self.candidates():
                if decision not in entries:
                    return decision
        return draw(self.space, self.ledger.rng(), entries)

    def rows(self, seen: Sequence[Observation]) -> Rows:
        """Return the decisions of observations as rows of value indices."""
        return self.genes.rows([o.decision for o in seen])

    def objectives(self, seen: Sequence[Observation]) -> Points:
        """Return figures to minimise; what is always positive, such as a speed-up, as its logarithm.

        Shape (observations, objectives).
        """
        values = np.array([o.values for o in seen])
        positive = (values > 0).all(0)
        scaled: Points = np.where(positive, np.log(np.where(positive, values, 1.0)), values) * self._signs
        return scaled

    def violations(self, seen: Sequence[Observation]) -> NDArray[np.float64]:
        """Return by how much each breaks the limits, 0 where it does not. Shape (observations,), one number each."""
        found: NDArray[np.float64] = np.maximum(np.array([o.violation for o in seen]), 0.0)
        return found

    def penalised(self, seen: Sequence[Observation]) -> Points:
        """Return the objectives with broken limits added to each. Shape (observations, objectives)."""
        values = self.objectives(seen)
        worse: Points = values + PENALTY * self.violations(seen)[:, None] * np.maximum(np.ptp(values, axis=0), 1e-12)
        return worse

    def rewards(self, seen: Sequence[Observation]) -> NDArray[np.float64]:
        """Return how good each is among all, from 0 for the last Pareto front to 1 for the first.

        Shape (observations,), one number each.
        """
        front = ranks(self.penalised(seen))
        share: NDArray[np.float64] = 1.0 - front / max(int(front.max()), 1)
        return share

    def generator(self) -> np.random.Generator:
        """Return the generator of the next proposal."""
        return np.random.default_rng((self.ledger.seed, len(self.ledger.entries)))
