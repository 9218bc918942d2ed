"""`Mending`: what training in earnest is expected to mend, and whether it is too slow for that."""

from __future__ import annotations

import math

from whet.schedule.recovery import BELIEVED, Recovery
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
        """Return the drop of a repaired candidate that one of the rounds is expected to mend."""
        more = self.trainable()
        power = BELIEVED[False, any(c.lasting > 1 for c in self.situation.space)]
        head_start = self.situation.history.head_start
        return math.inf if math.isinf(more) else Recovery.of(limit, power).mendable(head_start, more)

    def trainable(self) -> float:
        """Return the samples that one of the rounds is trained on, by the original's speed; infinite if unknown."""
        s = self.situation
        if not s.facts.trains:
            return 0.0
        if not s.goal.timed:
            return math.inf
        seconds = ROUNDS_SHARE * s.goal.budget_seconds / s.plan.rounds(self.rounds_seconds)
        return seconds * s.facts.original_samples_per_second()

    @property
    def slow(self) -> bool:
        """Whether training is so slow that candidates are looked for which need none.

        Of few data some epochs are soon gone through, and mend much.
        """
        s = self.situation
        enough = min(SLOW * s.history.head_start, s.facts.epoch_samples or math.inf)
        return s.facts.repairs and self.trainable() < enough
