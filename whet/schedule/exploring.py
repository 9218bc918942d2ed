"""`Exploring`: what anyone would try, one choice at a time, then many candidates with a little training each."""

from __future__ import annotations

import math
from typing import Protocol

from whet.core.space import Decision
from whet.core.strategy import Observation, Strategy
from whet.core.study import Trial
from whet.decisions.planner import Planner
from whet.schedule.actions import Actions, FindRecipe, Foresight, Several, Try
from whet.schedule.beliefs import Beliefs
from whet.schedule.hopes import Hopes
from whet.schedule.mending import Mending
from whet.schedule.probes import pressed, probe
from whet.schedule.recovery import POWER
from whet.schedule.situation import Situation
from whet.schedule.untouched import finish_untouched

VERIFIED = 2
"""How many files' time is kept for candidates that are verified as they were repaired; one where most are at once."""
AIM = (0.6, 1.2)
"""The damage that a strategy may do when it is aimed, in shares of the drop that it is aimed at."""
EXPLORED_SECONDS = 15.0
"""How long candidates are tried at least, however long the probes took, where there is time."""
FORESEEN = 1.2
"""How many times the damage aimed at a candidate's drop may be, as told from its error, for it to be looked at."""


class Pace(Protocol):
    """How candidates get what training they have, until when, and how many: alone, or together in a supernet."""

    def before(self, strategy: Strategy) -> Actions[None]:
        """Train what candidates are then cut from."""
        ...

    def after(self) -> Actions[None]:
        """Verify what needs no training of its own."""
        ...

    def most(self) -> float:
        """Return how many candidates are tried at most."""
        ...

    def until_share(self) -> float:
        """Return the share of the budget after which no candidate is begun."""
        ...

    def short_seconds(self) -> float | None:
        """Return how long a candidate is trained, None for not at all, 0 where samples limit it."""
        ...

    def look(self, decision: Decision, foresight: Foresight | None) -> Try:
        """Return the action that looks at a candidate."""
        ...


class Exploring:
    """What comes before the rounds: finishers alone, what anyone would try, probes, and short trainings."""

    def __init__(self, situation: Situation, mending: Mending, beliefs: Beliefs, pace: Pace) -> None:
        self.situation, self.mending, self.beliefs, self.pace = situation, mending, beliefs, pace
        self.strategy = beliefs.new_strategy(situation.seed)

    def run(self) -> Actions[None]:
        """Do what comes before the rounds, in order; where there is nothing to cut, only try the finishers."""
        s = self.situation
        yield from finish_untouched(s)
        if not len(s.space):
            return
        yield from Hopes(s, self.mending).run()
        if not pressed(s, self.mending):
            yield from probe(s)
        self.beliefs.inform(self.strategy)
        if not self.mending.slow:
            yield FindRecipe()
        yield from self.pace.before(self.strategy)
        yield from self.explore()
        yield from self.pace.after()

    def explore(self) -> Actions[None]:
        """Give each proposed candidate a short fine-tuning; most are not trained further."""
        s, observed = self.situation, self.situation.history.explored()
        for trial in observed + [t for t in s.history.of_stage("predicted") if len(t.decision) > 1]:
            self._tell(trial)
        failed = s.history.failures("short")
        self.strategy.tell(Observation(s.history.structural(t.decision)) for t in failed)
        least = min(EXPLORED_SECONDS, s.plan.explore_until * s.clock.budget.left_seconds)
        until = max(self.pace.until_share() * s.goal.budget_seconds, s.clock.spent_seconds + least)
        kept = (1 if self.mending.slow else VERIFIED) * s.clock.file_seconds if s.facts.repairs else 0.0
        until = min(until, s.goal.budget_seconds - s.clock.reserve_seconds() - kept)
        count = len(observed) + len(failed)
        while (left := self.pace.most() - count) > 0 and not s.history.hopeless():
            tried = yield from self.one_more(until, left)
            if not tried:
                return
            count += tried

    def one_more(self, until: float, most: float = math.inf) -> Actions[int]:
        """Try the strategy's next proposal if it will be done `until` then; return how many were tried.

        They are several, at `most` so many, where workers train at once: the strategy proposes none twice.
        """
        s = self.situation
        asked = self._asked(until, most)
        looks = [self.pace.look(decision, self._foresight(decision)) for decision in asked]
        trials = []
        if len(looks) > 1:
            trials = yield Several(tuple(looks))
        elif looks:
            trials = [(yield looks[0])]
        for decision, trial in zip(asked, trials, strict=True):
            if trial is not None:
                self._tell(trial)
            else:
                self.strategy.tell([Observation(s.history.structural(decision))])
        return len(asked)

    def _asked(self, until: float, most: float) -> list[Decision]:
        """Return what the strategy proposes next, as many as train at once and are timed `until` then."""
        clock, trained = self.situation.clock, self.pace.short_seconds()
        timing = clock.timing_seconds(2.0)
        step = (trained or 0.0) + timing
        if self.mending.slow:
            step = clock.costs.cost("repaired", clock.file_seconds)
        spent = clock.spent_seconds
        if spent + step > until:
            return []
        in_time = 1 + (until - spent - step) / max(timing, 1e-9)
        at_once = 1 if trained is None else min(self.situation.workers(), most, in_time)
        asked = self.strategy.ask(int(at_once))
        if any(not len(decision) for decision in asked):  # the untouched network has been tried already
            asked = [decision for decision in asked if len(decision)] + self.strategy.ask(1)
        return asked

    def _foresight(self, decision: Decision) -> Foresight | None:
        """Return when a candidate is left at what its outputs' error tells.

        Not where it extends a trained structure: it inherits weights, of which the error says nothing.
        """
        s, strategy = self.situation, self.strategy
        rate = s.told.by_errors(s.goal.max_drop)
        if rate is None or not isinstance(strategy, Planner) or strategy.base or s.goal.max_drop is None:
            return None
        gain = s.finishing.base_gain * math.exp(-strategy.log_latency(decision))
        return Foresight(rate, FORESEEN * strategy.budgets[1], gain, s.history.best_gain())

    def aim(self, drop: float, base: Decision | None = None) -> bool:
        """Have the strategy propose candidates whose drop is about `drop`, or which do such damage beyond `base`.

        Says whether the strategy can.
        """
        if not isinstance(self.strategy, Planner):
            return False
        self.strategy.aim((drop * AIM[0], drop * AIM[1]), base)
        return True

    def _tell(self, trial: Trial) -> None:
        """Tell the strategy what a candidate lost, as it would be as repaired, or without what was inherited."""
        s, history = self.situation, self.situation.history
        excess = max(0.0, trial.drop - 4 * s.goal.max_drop) if s.goal.max_drop is not None else 0.0
        excess += s.goal.objectives.violation(trial)
        level = history.head_start or max(history.own_samples(trial), 1)
        drop = trial.drop * (max(history.fresh_samples(trial), level) / level) ** POWER
        values = trial.gain / s.finishing.base_gain, drop
        self.strategy.tell([Observation(history.structural(trial.decision), values, excess)])
