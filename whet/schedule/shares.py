"""`Shares`: what is left of the budget is shared out to the rounds to come."""

from __future__ import annotations

from dataclasses import dataclass

from whet.schedule.portion import Portion
from whet.schedule.situation import Situation

LEAST_SECONDS = 2.0
"""The shortest training that is begun."""


@dataclass(frozen=True)
class Shares:
    """How many rounds there is time for, and how long each may train."""

    situation: Situation
    portion: Portion

    def rounds(self, planned: int) -> int:
        """Return how many more rounds there is time for, of those planned; one rather than none."""
        for rounds in range(max(planned, 0), 1, -1):
            if self.each(rounds) >= LEAST_SECONDS:
                return rounds
        return min(max(planned, 0), 1)

    def each(self, rounds: int) -> float:
        """Return the seconds that each of the rounds to come may train."""
        clock, settling = self.situation.clock, self.portion.settling
        left = clock.left_after(rounds + self.situation.finishing.worthwhile)
        if rounds == 1 and left < LEAST_SECONDS:  # rather one that is not finished than none
            return max(left, clock.left_after(1))
        return left / (rounds + settling) if rounds + settling else 0.0

    def epochs_left(self) -> float:
        """Return how many times the training data can be gone through in what is left of the budget."""
        facts = self.situation.facts
        left = self.situation.clock.left_after(0) * facts.samples_per_second()
        return left / facts.epoch_samples if facts.epoch_samples else 0.0
