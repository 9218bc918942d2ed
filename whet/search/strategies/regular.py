"""Search in the space of regular networks as long as that space is seen to be the better one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from whet.core.space import Decision, Space
from whet.decisions.genes import Rows, ordered
from whet.search.design_space import superiority
from whet.search.modelled import Modelled

ATTEMPTS = 50
MARGIN = 1e-6
"""How far inside of a value's interval its line has to run: one that only touches two intervals is never drawn."""


class Regular(Modelled):
    """Draws from two design spaces, all decisions and the regular ones, the better one the more often.

    A regular decision's ordered choices follow one line over the network, quantized to each choice's values:

        u_j = start + slope * j / (n - 1),   start, start + slope ~ U(0, 1),

    and its other choices agree along one stretch, as those of a stage do. The space to draw from is itself drawn, with
    the probability that one of its networks was seen to rank better (`superiority`) than one of the other's.

    Paper: Radosavovic et al. 2020, Designing Network Design Spaces, which finds such spaces by hand, comparing
    the error distributions of 500 trained networks each; here one comparison is made, on what the search measures.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *, warm_up: int = 4
    ) -> None:
        super().__init__(space, seed, directions, warm_up)
        self._line = [i for i, c in enumerate(self.genes.choices) if ordered(c)]

    def candidates(self) -> Iterator[Decision]:
        """Yield regular decisions with the probability that they are trusted with, and then any."""
        generator = self.generator()
        if generator.random() < self.trust():
            for _ in range(ATTEMPTS):
                yield self.genes.decision(self.regular(generator))
        yield from map(self.genes.decision, self.genes.random(ATTEMPTS, generator))

    def regular(self, generator: np.random.Generator) -> Rows:
        """Return the genes of one regular decision."""
        row: Rows = np.array(self.genes.identity)
        ends = generator.random(2)
        for position, i in enumerate(self._line):
            share = ends[0] + (ends[1] - ends[0]) * position / max(len(self._line) - 1, 1)
            row[i] = min(int(share * self.genes.lengths[i]), int(self.genes.lengths[i]) - 1)
        others = [i for i in range(len(row)) if i not in set(self._line)]
        if others:
            begin, end = np.sort(generator.integers(0, len(others) + 1, 2))
            share = generator.random()
            for i in others[begin:end]:
                row[i] = int(share * self.genes.lengths[i])
        found: Rows = self.genes.canonical(row[None])[0]
        return found

    def trust(self) -> float:
        """Return the chance that a measured regular network beats a measured irregular one; 0.5 without both."""
        seen = self.ledger.measured()
        if len(seen) < 2:
            return 0.5
        rows, errors = self.rows(seen), 1.0 - self.rewards(seen)
        regular = np.array([self.is_regular(row) for row in rows])
        if regular.all() or not regular.any():
            return 0.5
        return superiority(errors[regular], errors[~regular])

    def is_regular(self, row: Rows) -> bool:
        """Say whether the ordered choices lie on one quantized line; those of dropped blocks count as on it."""
        position = np.linspace(0.0, 1.0, len(self._line)) if len(self._line) > 1 else np.zeros(len(self._line))
        lengths = self.genes.lengths[self._line]
        low, high = row[self._line] / lengths + MARGIN, (row[self._line] + 1) / lengths - MARGIN
        corners = [(p, v) for p, lo, hi in zip(position, low, high, strict=True) for v in (lo, hi)]
        for i, (p, v) in enumerate(corners):
            for q, w in corners[i + 1 :]:
                slope = (w - v) / (q - p) if q > p else 0.0
                line = v + slope * (position - p)
                if ((line >= low - 1e-9) & (line <= high + 1e-9)).all():
                    return True
        return not self._line
