"""`Mending`: what training in earnest is expected to mend, and whether it is too slow for that."""

from __future__ import annotations

import math

from whet.schedule.recovery import Recovery
from whet.schedule.situation import Situation

ROUNDS_SHARE, SLOW = 0.4, 3.0
"""The share of the budget that the rounds have; training is slow where a round's samples are fewer than so many times a
repair's worth."""


class Mending:
    """`share` is that of the budget which full trainings are planned for."""

    def __init__(self, situation: Situation) -> None:
        self.situation, self.share = situation, 1.0

    @property
    def rounds_seconds(self) -> float:
        """The budget that full trainings are planned for."""
        return self.situation.goal.budget_seconds * self.share

    def mendable(self, limit: float) -> float:
        """Return the drop of a repaired candidate that one of the rounds, or the only training, is expected to mend."""
        more = self.trainable()
        head_start = self.situation.history.head_start
        return math.inf if math.isinf(more) else Recovery.of(limit).mendable(head_start, more)

    def trainable(self) -> float:
        """Return the samples that one of the rounds, or the only training, has; infinite where that is unknown."""
        return self._samples(1 if self.once else self.situation.plan.rounds(self.rounds_seconds))

    @property
    def slow(self) -> bool:
        """Whether training is so slow that candidates are looked for which need none.

        Of few data some epochs are soon gone through, and mend much.
        """
        return self._slow(self.situation.plan.rounds(self.rounds_seconds))

    @property
    def once(self) -> bool:
        """Whether there is time for one training, and not for several: no candidate is trained briefly before."""
        return self.slow and not self._slow(1)

    @property
    def none(self) -> bool:
        """Whether nothing is trained: candidates are looked for that are within the limit as repaired."""
        return self.slow and not self.once

    def _slow(self, rounds: int) -> bool:
        """Say whether so many rounds are each of too few samples to mend much."""
        facts = self.situation.facts
        enough = min(SLOW * self.situation.history.head_start, facts.epoch_samples or math.inf)
        return facts.repairs and self._samples(rounds) < enough

    def _samples(self, rounds: int) -> float:
        """Return the samples that each of so many rounds is trained on, by the original's speed."""
        s = self.situation
        if not s.facts.trains:
            return 0.0
        if not s.goal.timed:
            return math.inf
        return ROUNDS_SHARE * s.goal.budget_seconds * s.facts.original_samples_per_second() / rounds
