"""`Alone`: candidates are trained one by one, briefly, or not at all."""

from __future__ import annotations

import math

from whet.core.space import Decision
from whet.core.strategy import Strategy
from whet.schedule.actions import Actions, Foresight, Try
from whet.schedule.mending import Mending
from whet.schedule.situation import Situation


class Alone:
    """The pace of candidates that are trained one by one."""

    def __init__(self, situation: Situation, mending: Mending) -> None:
        self.situation, self.mending = situation, mending

    def before(self, strategy: Strategy) -> Actions[None]:
        yield from ()

    def after(self) -> Actions[None]:
        yield from ()

    def most(self) -> float:
        return math.inf if self.situation.goal.trials is None else self.situation.goal.trials

    def until_share(self) -> float:
        return self.situation.plan.explore_until

    def short_seconds(self) -> float | None:
        plan = self.situation.plan
        if not self.situation.facts.trains or self.mending.slow:
            return None
        short = max(plan.short_seconds, plan.short_share * self.situation.goal.budget_seconds)
        return 0.0 if math.isinf(short) else short

    def look(self, decision: Decision, foresight: Foresight | None) -> Try:
        s = self.situation
        return Try(
            decision, s.finishing.of_candidates, self.short_seconds(), s.plan.short_samples, foresight,
            verified=foresight is not None and self.mending.slow,
        )  # fmt: skip
