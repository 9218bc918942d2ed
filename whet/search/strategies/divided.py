"""Evolution on each part of the network by itself, joined by how much each part's changes impair it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from whet.core.space import Decision, Space
from whet.decisions.genes import Rows
from whet.decisions.pareto import Points, best
from whet.search.modelled import Modelled

ATTEMPTS = 40
PARENTS = 8
WEIGHTS = 24


class Divided(Modelled):
    """Multi-objective evolution on parts of consecutive choices in turn; every other proposal joins parts.

    A part's population holds the decisions that change nothing outside it, so its space is the product of few
    choices. Objectives of parts (log latency, drop) are taken to add up: for a weighting w of the objectives, drawn
    anew each time, the joint decision takes of each part the member with the least impairment,

        argmin over the part's members m of  sum_k w_k (f_k(m) - f_k(original)).

    Paper: An EMO Joint Pruning with Multiple Sub-networks, which trains the parts separately under feature
    constraints; here a part is measured inside the whole network, which needs no training scheme of its own.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        parts: int = 3, warm_up: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        count = max(1, min(parts, len(space)))
        self.parts = np.array_split(np.arange(len(space)), count)
        self.outside = [np.setdiff1d(np.arange(len(space)), part) for part in self.parts]

    def propose(self) -> Decision:
        """Begin with the original: what parts impair is counted from it."""
        original = self.space.canonical(self.space.identity())
        return super().propose() if original in self.ledger.entries else original

    def candidates(self) -> Iterator[Decision]:
        """Yield joint decisions every other turn, then children within one part after the other."""
        seen, generator = self.ledger.measured(), self.generator()
        turn = len(self.ledger.entries)
        rows, values = self.rows(seen), self.penalised(seen)
        if turn % 2 and turn > 2 * len(self.parts):
            yield from self._joined(rows, values, generator)
        for shift in range(len(self.parts)):
            yield from self._alone(rows, values, (turn // 2 + shift) % len(self.parts), generator)

    def members(self, rows: Rows, part: int) -> Rows:
        """Return the indices of the rows that change nothing outside a part."""
        outside = self.outside[part]
        found: Rows = np.flatnonzero((rows[:, outside] == self.genes.identity[outside]).all(1))
        return found

    def _alone(self, rows: Rows, values: Points, part: int, generator: np.random.Generator) -> Iterator[Decision]:
        own = self.members(rows, part)
        population = rows[own][best(values[own], PARENTS)] if len(own) else self.genes.identity[None]
        fresh = self.genes.random(ATTEMPTS // 4, generator)
        born = np.concatenate([self.genes.children(population, ATTEMPTS, generator), fresh])
        born[:, self.outside[part]] = self.genes.identity[self.outside[part]]
        yield from map(self.genes.decision, self.genes.canonical(born))

    def _joined(self, rows: Rows, values: Points, generator: np.random.Generator) -> Iterator[Decision]:
        scale = np.maximum(np.ptp(values, axis=0), 1e-12)
        for weights in generator.dirichlet(np.ones(values.shape[1]), WEIGHTS):
            harm = (values / scale) @ weights
            row = np.array(self.genes.identity)
            for part, places in enumerate(self.parts):
                own = self.members(rows, part)
                if len(own):
                    chosen = rows[own[np.argmin(harm[own])]]
                    row[places] = chosen[places]
            yield self.genes.decision(self.genes.canonical(row[None])[0])
