"""The untouched network in each way of finishing: the cheapest candidates, often good ones."""

from __future__ import annotations

import math

from whet.core.space import Decision
from whet.schedule.actions import Actions, FinishUntouched
from whet.schedule.obvious import in_words
from whet.schedule.recovery import NOISE
from whet.schedule.situation import Situation

DEAR, WELL_WITHIN = 0.05, 0.5
"""A file is dear that takes such a share of the budget; well within the limit is a drop of such a share of it."""
FASTER = 1.02
"""The speed-up below which a way of finishing is taken not to pay."""


def finish_untouched(s: Situation) -> Actions[None]:
    """Try the finishers on the untouched network.

    Each way of a finisher is tried until one costs next to nothing, or gains nothing. Where a file is dear, a way
    that is well within the limit is enough.
    """
    dear = s.clock.file_seconds > DEAR * s.goal.budget_seconds
    enough = math.inf if s.goal.max_drop is None else (WELL_WITHIN if dear else NOISE) * s.goal.max_drop
    for ways in s.finishing.ways:
        for way in ways:
            tried = [t for t in s.history.untouched() if t.decision in ways]
            known = any(t.decision == way or t.drop <= enough or t.gain < FASTER for t in tried)
            if known or any(t.decision == way for t in s.history.failures("full")):
                continue
            if s.goal.timed and s.clock.left_after(1) < 0:
                _note_no_time(s, way)
                return
            s.say(f"{in_words(way)} without training")
            yield FinishUntouched(way)


def _note_no_time(s: Situation, way: Decision) -> None:
    """Keep for the conclusion that there was no time for any way of finishing."""
    if not s.history.untouched():
        s.note(
            f"the budget of {s.goal.budget_seconds:.0f} s is too short to try {in_words(way)}: what comes "
            f"before took {s.clock.spent_seconds:.0f} s, a file takes {s.clock.file_seconds:.0f} s, and the "
            f"delivery {s.clock.reserve_seconds():.0f} s"
        )
