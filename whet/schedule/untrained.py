"""`Untrained`: repaired candidates that are within the limit without training are verified, the fastest first."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from whet.core.study import Trial
from whet.schedule.actions import Actions, Verify
from whet.schedule.exploring import Exploring
from whet.schedule.hopes import told
from whet.schedule.prospects import PROMISING
from whet.schedule.recovery import NOISE
from whet.schedule.situation import Situation

TOLD = 0.5
"""The standard deviation of a drop that an error tells, as a share of it."""
LIKELY = 0.4
"""The chance to be within the limit from which a candidate that was not trained is verified."""
IDLE = 0.08
"""The share of the budget in which nothing better was found, after which what needs no training is taken as found.

In three minutes on ResNet-20 the last better file came after 67 seconds, and fifty more candidates in the next forty.
"""


class Untrained:
    """What is done before, and in place of, training in earnest."""

    def __init__(self, situation: Situation, explorer: Exploring) -> None:
        self.situation, self.explorer = situation, explorer

    @property
    def all_there_is(self) -> bool:
        """Whether nothing is trained: there are no data for it, or it would be too slow."""
        return not self.situation.facts.trains or self.explorer.mending.slow

    def verify(self) -> Actions[None]:
        """Verify repaired candidates that are within the limit without training, the fastest first, until one is.

        Without training data that is all there is. Where finishers pay, the finished form is verified and no other.
        """
        s = self.situation
        while s.clock.left_after(1) >= 0 and (chosen := self.fastest()) is not None:
            s.say(f"verifying candidate {chosen.number} (x{chosen.gain:.2f})")
            found = yield Verify(chosen, s.finishing.of_candidates.applied, told=chosen.stage == "predicted")
            if found is not None and s.goal.feasible(found) and s.goal.max_drop is not None:
                return

    def search_on(self, enough: Callable[[], bool] = lambda: False) -> Actions[None]:
        """Look for more candidates that need no training, and verify what is faster, as long as there is time.

        It ends where nothing better was found for a while and that is `enough`.
        """
        s = self.situation
        until = s.goal.budget_seconds - s.clock.reserve_seconds() - s.clock.file_seconds
        looks = s.goal.timed and s.goal.trials is None
        while looks and not s.history.hopeless() and (yield from self.explorer.one_more(until)):
            yield from self.verify()
            if self._idle_seconds() > IDLE * s.goal.budget_seconds and enough():
                return

    def _idle_seconds(self) -> float:
        """Return how long ago the best file so far was verified; infinite where there is none."""
        s = self.situation
        within = [t for t in s.history.of_stage("full") if s.goal.feasible(t)]
        return s.clock.spent_seconds - max(within, key=lambda t: t.gain).spent_seconds if within else math.inf

    def fastest(self) -> Trial | None:
        """Return the untrained candidate that promises most beyond the best: its gain times the chance to be within.

        Its score is from a sample, and of the form before the finishers. Without a limit it is the one that loses least
        for its speed.
        """
        s, limit = self.situation, self.situation.goal.max_drop
        tried = [t.parent for t in s.history.of_stage("full") + s.history.failures("full")]
        short = [t for t in s.history.of_stage("short") if not t.samples and t.number not in tried]
        waiting = short + told(s)
        if limit is None:
            few = len(tried) < s.plan.usual_rounds and self.all_there_is
            return max(waiting, key=s.goal.merit, default=None) if few else None
        best = (1 + PROMISING) * s.history.best_gain()
        chances = {t.number: chance(t, limit) for t in waiting if t.gain > best}
        within = [t for t in waiting if chances.get(t.number, 0.0) > LIKELY]
        return max(within, key=lambda t: chances[t.number] * (t.gain - best), default=None)


def chance(trial: Trial, limit: float) -> float:
    """Return the chance that a repaired candidate is within the limit: what errors tell of is uncertain."""
    spread = TOLD * trial.drop if trial.stage == "predicted" else 0.0
    return NormalDist(0.0, max(math.hypot(NOISE * limit, spread), 1e-9)).cdf(limit - trial.drop)
