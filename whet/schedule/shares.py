"""`Shares`: what is left of the budget is shared out to the rounds to come."""

from __future__ import annotations

from dataclasses import dataclass

from whet.schedule.portion import Portion
from whet.schedule.situation import Situation

LEAST_SECONDS = 2.0
"""The shortest training that is begun."""
VERIFYING = 0.5
"""The share of the time that is left in which the files of candidates that train at once are timed and scored."""


@dataclass(frozen=True)
class Shares:
    """How many rounds there is time for, and how long each may train.

    With `careful`, each file of theirs has the time of the longest so far, as has what a training takes before its
    first step and behind its last, and what is trained is finished as well.
    """

    situation: Situation
    portion: Portion
    careful: bool = False

    def rounds(self, planned: int) -> int:
        """Return how many more rounds there is time for, of those planned; one rather than none."""
        for rounds in range(max(planned, 0), 1, -1):
            if self.each(rounds) >= LEAST_SECONDS:
                return rounds
        return min(max(planned, 0), 1)

    @property
    def at_once(self) -> int:
        """How many candidates a round trains at once: one a worker, and fewer where their files would take too long.

        Files are timed and scored one after the other, on the device, in at most a share `VERIFYING` of the time.
        """
        s = self.situation
        workers = s.workers()
        if workers == 1 or not s.goal.timed:
            return workers
        return max(1, min(workers, int(VERIFYING * s.clock.left_after(0) / max(s.clock.file_seconds, 1e-9))))

    def each(self, rounds: int) -> float:
        """Return the seconds that each of the rounds to come may train."""
        clock, settling = self.situation.clock, self.portion.settling
        files = rounds * self.at_once + self.situation.finishing.worthwhile
        longest = (files + rounds) * clock.longest_file_seconds
        left = clock.left_seconds - longest if self.careful else clock.left_after(files)
        if rounds == 1 and left < LEAST_SECONDS and not self.careful:  # rather one that is not finished than none
            return max(left, clock.left_after(1))
        return left / (rounds + settling) if rounds + settling else 0.0

    def epochs_left(self) -> float:
        """Return how many times the training data can be gone through in what is left of the budget."""
        facts = self.situation.facts
        left = self.situation.clock.left_after(0) * facts.samples_per_second()
        return left / facts.epoch_samples if facts.epoch_samples else 0.0
