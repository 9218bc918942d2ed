"""`Finishing`: by which finishers candidates are finished, if any."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.actions import Finishers
from whet.schedule.history import History

TOLERABLE = 2.0
"""The drop of the untouched network with the finishers, in shares of the limit, above which they are left out.

int8 took 6% from the MLP on protein at a limit of 1%, and 2 to 5% from candidates trained on with it.
"""
PAYS = 1.1
"""What the untouched network has to gain by finishers for candidates to be looked at in their finished form alone."""


class Finishing:
    """The way of finishing, from what the untouched network gained and lost by each.

    `ways` returns for each finisher what anyone would try of it on the whole network, in the order to try it; `any`
    says that there are finishers.
    """

    def __init__(self, history: History, ways: Callable[[], list[list[Decision]]], any: bool) -> None:
        self.history, self.any, self._ways = history, any, ways

    @cached_property
    def ways(self) -> list[list[Decision]]:
        """For each finisher its ways on the whole network; asked for once."""
        return self._ways()

    @property
    def worthwhile(self) -> bool:
        """Whether finishers are worth trying on candidates.

        Not where the untouched network gains nothing by them, or loses far too much.
        """
        tried, limit = self.history.untouched(), self.history.goal.max_drop
        if not len(self.history.space) or not tried:
            return self.any
        slower = max(t.gain for t in tried) < 1.0
        worse = limit is not None and min(t.drop for t in tried) > TOLERABLE * limit
        return self.any and not slower and not worse

    @property
    def taken(self) -> Trial | None:
        """The trial of the untouched network in the way of finishing that is taken, once there is one."""
        return max(self.history.untouched() if self.worthwhile else [], key=self.history.goal.merit, default=None)

    @property
    def decision(self) -> Decision:
        """The decision that finishes a whole network in the way that is taken."""
        if self.taken is not None:
            return self.taken.decision
        ways = [way for ways in self.ways for way in ways]
        return ways[0] if ways and self.worthwhile else Decision()

    @property
    def pays(self) -> bool:
        """Whether the untouched structure gained more than `PAYS` by finishers alone."""
        names = set(self.history.space.choices)
        found = [t.gain for t in self.history.of_stage("full") if not names & set(t.decision)]
        return max(found, default=0.0) > PAYS

    @property
    def of_candidates(self) -> Finishers:
        """How candidates are finished that are only looked at."""
        decision = self.decision
        return Finishers(decision, alone=self.worthwhile and bool(decision) and self.pays)

    @property
    def base_gain(self) -> float:
        """The gain of the untouched structure with the finishers: what structural choices multiply."""
        return 1.0 if self.taken is None else max(1.0, self.taken.gain)
