"""`Growth`: more candidates between two full trainings: new ones, and ones that extend a trained structure."""

from __future__ import annotations

from dataclasses import replace

from whet.core.study import Trial
from whet.schedule.actions import Actions
from whet.schedule.exploring import Exploring
from whet.schedule.prospects import Prospects
from whet.schedule.recovery import SPARE
from whet.schedule.situation import Situation

MORE, MOST = 4, 40
"""How many more candidates are tried between two full trainings, and where none that waits would be faster."""
GROWN = 3
"""How many candidates that extend a trained structure are tried at most, until one promises something."""
LEFT = 4.0
"""How many times a short training must be left for a full one after more candidates were tried."""


class Growth:
    """Has the explorer look for what `seconds` of training can just mend."""

    def __init__(self, situation: Situation, explorer: Exploring, prospects: Prospects) -> None:
        self.situation, self.explorer, self.prospects = situation, explorer, prospects

    def explore_more(self, seconds: float, most: int = MORE) -> Actions[bool]:
        """Try another candidate whose drop `seconds` of training can just mend; say whether there was one, and time.

        No more than `most` come between two full trainings.
        """
        s, limit = self.situation, self.situation.goal.max_drop
        fulls = [t.number for t in s.history.of_stage("full")]
        tried = s.history.of_stage("short") + s.history.failures("short")
        shorts = [t for t in tried if t.number > max(fulls, default=-1)]
        if limit is None or s.goal.trials is not None or not len(s.space) or len(shorts) >= most:
            return False
        more = self.prospects.portion.samples_in(seconds)
        self.explorer.aim(self.prospects.recovery(limit).mendable(self.prospects.short_samples(), more))
        s.say("looking for more candidates")
        return bool((yield from self.explorer.one_more(self._until())))

    def grow(self, seconds: float) -> Actions[bool]:
        """Try a candidate that extends the fastest trained structure that has room; say whether there was one.

        It inherits what was trained, so only the damage of its own cuts, as much as `seconds` of training can mend
        beside what is left of the old, has to be mended. More are tried, up to `GROWN`, while none promises to be
        faster than the best: one that was trained in earnest and missed the limit does not by what it was before.
        """
        s, limit, base = self.situation, self.situation.goal.max_drop, self.prospects.base()
        if limit is None or base is None or s.goal.trials is not None or not self._has_room(base, limit, seconds):
            return False
        left = max(self.prospects.left(base, seconds), 0.0) / SPARE
        spare = replace(self.prospects.recovery(limit), limit=limit - left)
        damage = spare.mendable(self.prospects.short_samples(), self.prospects.portion.samples_in(seconds))
        if damage <= 0 or not self.explorer.aim(damage, base.decision):
            return False
        s.say(f"extending trial {base.number}")
        return bool((yield from self.explorer.one_more(self._until())))

    def _has_room(self, base: Trial, limit: float, seconds: float) -> bool:
        """Say whether another extension of a structure is to be tried: few were, and none of them promises enough."""
        s = self.situation
        wider = [t for t in s.history.of_stage("short") if base.decision.items() <= t.decision.items()]
        failed = [t for t in s.history.failures("short") if base.decision.items() <= t.decision.items()]
        continued = self.prospects.trained.gone_on_with()
        waiting = [t for t in wider if t.number not in continued]
        tried = sum(t.number > base.number for t in wider + failed)
        if tried >= GROWN or len(base.decision) == len(s.space):
            return False
        return not self.prospects.promise(waiting, limit, seconds)

    def _until(self) -> float:
        """Return the seconds of the budget after which a candidate could not be trained in earnest any more."""
        s = self.situation
        files = (1 + s.finishing.worthwhile) * s.clock.file_seconds
        until = s.goal.budget_seconds - s.clock.reserve_seconds() - files
        return until - (self.explorer.pace.short_seconds() or 0.0) * LEFT
