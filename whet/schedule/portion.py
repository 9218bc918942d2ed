"""`Portion`: how the training of a structure is shared out between before and after the finishers."""

from __future__ import annotations

from dataclasses import dataclass

from whet.schedule.recovery import NOISE
from whet.schedule.situation import Situation


@dataclass(frozen=True)
class Portion:
    """`after` the finishers comes a share of a structure's training, which is `settling` times what came before."""

    situation: Situation

    @property
    def after(self) -> float:
        """The share of a structure's training that comes after the finishers.

        Zero where the untouched network hardly loses by them; a budget that counts samples keeps it.
        """
        s = self.situation
        return s.plan.quantized_share if s.finishing.worthwhile and not self._finishes_untrained() else 0.0

    def _finishes_untrained(self) -> bool:
        s = self.situation
        untouched, limit = s.finishing.taken, s.goal.max_drop
        if untouched is None or limit is None or s.plan.full_samples is not None:
            return False
        return untouched.drop <= NOISE * limit

    @property
    def settling(self) -> float:
        """How long the training after the finishers is, in shares of the one before."""
        after = self.after
        return after / (1 - after)

    def samples(self, share: float) -> float | None:
        """Return the samples of a share of a structure's training, where the budget is in epochs."""
        full = self.situation.plan.full_samples
        return None if full is None else full * share

    def samples_in(self, seconds: float) -> float:
        """Return what a structure is trained on before the finishers, in so many seconds; as the original, at first."""
        facts = self.situation.facts
        each = facts.samples_per_second() or facts.original_samples_per_second()
        return self.samples(1 - self.after) or seconds * each
