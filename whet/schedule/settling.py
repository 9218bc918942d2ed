"""`Settling`: the finishers' choices layer by layer, for a structure that is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from whet.core.space import Choice, Decision
from whet.core.study import Trial
from whet.schedule.actions import Actions, MeasureLayers, Mix
from whet.schedule.finishing import PAYS
from whet.schedule.mixing import Mixing
from whet.schedule.recovery import SPARE
from whet.schedule.situation import Mixable, Situation
from whet.search.programme import by_integer_programme

MOST, GROWTH = 6, 1.4
"""How many mixtures are verified for one structure, and by how much the error that they may do grows at first."""
LEAST_GROWTH = 1.05
RACES = 4
"""How many files' time must be left for mixtures to be raced for speed."""
BEGUN = 0.25
"""The error that the first mixture may do, as a share of the largest."""


@dataclass(frozen=True)
class Measured:
    """What each value of each choice does alone: what it leaves of bytes or latency, less 1, and the error it adds."""

    choices: list[Choice]
    costs: list[list[float]]
    errors: list[list[float]]

    def best(self, budget: float) -> Decision:
        """Return the values that cost least together while their errors are within a budget."""
        if not self.choices:
            return Decision()
        picked = by_integer_programme(self.costs, self.errors, max(budget, 0.0))
        values = {c.name: c.values[i] for c, i in zip(self.choices, picked, strict=True)}
        return Decision({c.name: values[c.name] for c in self.choices if values[c.name] != c.identity})

    @property
    def largest(self) -> float:
        """The error of the costliest values together."""
        return sum(max(row) for row in self.errors)


class Settling:
    """Chooses, for a finished structure, what each layer has: the error that the drop leaves room for is shared out.

    Each value of each layer is applied alone, for its gain and for what it adds to the outputs' error; an integer
    programme takes the mixture of most gain within a budget of added error, its file is verified, and the budget
    follows the drop that was measured: the sum of errors forecasts no drop, but it orders mixtures.
    """

    def __init__(self, situation: Situation) -> None:
        self.situation = situation

    def run(self) -> Actions[None]:
        """Settle the best structure, by the finisher that the untouched network gained most by, then by the others.

        Bytes are won layer by layer. Speed is, where all layers together are within the limit, won by all together.
        """
        s = self.situation
        taken = s.finishing.decision
        best = max(s.history.of_stage("full"), key=self._expected, default=None)
        items = sorted(s.facts.mixables(), key=lambda item: not _offers(item, taken))
        if best is not None and items and self._left() >= RACES * s.clock.file_seconds:
            yield from Mixing(s).run(items[0], best, self._left())
        if not self.pays():
            return
        for item in items:
            if best is None:
                return
            if _offers(item, taken) and not s.history.is_finished(best):
                whole = best.decision.merge(taken)
                if self._known(whole) is None and self._has_time() and (yield Mix(best, item.place, whole)) is None:
                    continue
            yield from self._settle(item, best)

    def pays(self) -> bool:
        """Say whether choosing layer by layer may gain something beyond a finisher for the whole network."""
        s = self.situation
        if "size" in s.goal.objectives.wanted:
            return True
        finished = [t for t in s.history.of_stage("full") if s.history.is_finished(t) and t.gain > PAYS]
        return bool(finished) and not any(map(s.goal.feasible, finished))

    def _expected(self, trial: Trial) -> float:
        """Return a trial's merit; of one that is not finished as if it gained what the untouched network does."""
        s = self.situation
        taken = s.finishing.taken
        return s.goal.merit(trial) * (1.0 if taken is None or s.history.is_finished(trial) else taken.gain)

    def _settle(self, item: Mixable, trial: Trial) -> Actions[None]:
        """Try mixtures of a finisher's values on the structure of a trial."""
        s, scope, place = self.situation, item.scope, item.place
        if scope is None or not self._has_time():
            return
        s.say(f"settling {next(iter(scope))} of trial {trial.number} layer by layer")
        until = s.clock.spent_seconds + self._left() / 2
        measured = yield MeasureLayers(trial, place, scope, until)
        if measured is None or not measured.choices:
            return
        limit = SPARE * s.goal.max_drop if s.goal.max_drop is not None else math.inf
        budget, growth, seen = BEGUN * measured.largest, GROWTH**2, set[Decision]()
        for _ in range(MOST):
            mixture = measured.best(budget)
            if not mixture or mixture in seen:
                return
            seen.add(mixture)
            decision = s.history.structural(trial.decision).merge(scope).merge(mixture)
            found = yield from self._verified(place, decision, trial)
            if found is None:
                return
            if found.drop <= limit:
                budget *= growth
            else:
                growth = max(growth**0.5, LEAST_GROWTH)
                budget /= growth

    def _verified(self, place: int, decision: Decision, trial: Trial) -> Actions[Trial | None]:
        """Return what is found of a decision, which a resumed study may know; None where there is no time to look."""
        known = self._known(decision)
        if known is not None or not self._has_time():
            return known
        found: Trial | None = yield Mix(trial, place, decision)
        return found

    def _known(self, decision: Decision) -> Trial | None:
        """Return the trial of a decision that was verified."""
        return next((t for t in self.situation.history.of_stage("full", "predicted") if t.decision == decision), None)

    def _has_time(self) -> bool:
        return self._left() >= self.situation.clock.file_seconds

    def _left(self) -> float:
        clock = self.situation.clock
        return clock.budget.left_seconds - clock.reserve_seconds(settling=True)


def _offers(item: Mixable, decision: Decision) -> bool:
    return any(name in decision for name in item.names)
