"""`Learned`: what strategies share whose proposals come of a learner that is taught by one entry after another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import neighbour
from whet.decisions.genes import Rows
from whet.decisions.pareto import standing
from whet.search.modelled import Modelled

KEPT = 16
"""How many of the last learners are kept: a result of a decision that was in flight changes a lesson that far back."""
Entry = tuple[Decision, Observation | None]


class Learned(Modelled):
    """A learner begins by the seed, has a lesson for each entry of the ledger, in order, and draws what is proposed.

    So it is a function of the ledger, and a proposal costs one lesson: learners of earlier entries are kept, and where
    an entry changed those behind it have their lessons again.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), warm_up: int = 1
    ) -> None:
        super().__init__(space, seed, directions, warm_up)
        self._known: list[Entry] = []
        self._learners: list[Any] = []

    def begin(self) -> Any:
        """Return a learner that knows nothing; it is copied before each lesson."""
        raise NotImplementedError

    def constants(self) -> tuple[object, ...]:
        """Return what learners hold that no lesson changes: copies share it."""
        return (self.genes,)

    def lesson(self, learner: Any, index: int) -> None:
        """Teach a learner, which was taught all entries before it, the entry of an index."""
        raise NotImplementedError

    def drawn(self, learner: Any, index: int) -> Rows:
        """Return rows that a learner draws, by the seed and an index, the first to be proposed if it is new."""
        raise NotImplementedError

    def propose(self) -> Decision:
        """Return the first new decision that the learner draws, or one near the first of all where none is new."""
        entries = self.ledger.entries
        if len(entries) < self.warm_up or not len(self.space):
            return super().propose()
        rows = self.drawn(self.taught(), len(entries))
        found = [self.genes.decision(row) for row in rows]
        new = next((decision for decision in found if decision not in entries), None)
        return neighbour(self.space, found[0], self.ledger.rng(), entries) if new is None else new

    def candidates(self) -> list[Decision]:
        """Return nothing: before the warm-up is over decisions are drawn by chance."""
        return []

    def taught(self) -> Any:
        """Return the learner that was taught all entries."""
        entries: list[Entry] = list(self.ledger.entries.items())
        same = next((i for i, (a, b) in enumerate(zip(self._known, entries, strict=False)) if a != b), None)
        agreed = min(len(self._known), len(entries)) if same is None else same
        behind = len(self._known) - agreed
        self._learners = self._learners[: len(self._learners) - behind] if behind < len(self._learners) else []
        if not self._learners:
            self._learners, agreed = [self.begin()], 0
        for index in range(agreed, len(entries)):
            learner = copy.deepcopy(self._learners[-1], {id(part): part for part in self.constants()})
            self.lesson(learner, index)
            self._learners = [*self._learners, learner][-KEPT:]
        self._known = entries
        return self._learners[-1]

    def chance(self, index: int) -> torch.Generator:
        """Return the generator of an index of the ledger: always the same by the seed."""
        return torch.Generator().manual_seed(self.ledger.seed * 1_000_003 + index)

    def earned(self) -> dict[Decision, float]:
        """Return the reward of each measured decision: its standing among those before it, from 0 to 1."""
        seen = self.ledger.measured()
        if not seen:
            return {}
        rewards = standing(self.objectives(seen), self.violations(seen))
        return dict(zip((o.decision for o in seen), rewards.tolist(), strict=True))
