"""`Settling`: the finishers' choices layer by layer, for a structure that is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.space import Choice, Decision, Value
from whet.core.study import Trial
from whet.flow.forecast import SPARE
from whet.flow.stage import Stage
from whet.flow.workbench import PAYS
from whet.search.programme import by_integer_programme

MOST, GROWTH = 6, 1.4
"""How many mixtures are verified for one structure, and by how much the error that they may do grows at first."""
LEAST_GROWTH = 1.05
SAVED = 1.01
"""What a value must gain by itself to be among those that are chosen from."""


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


class Settling(Stage):
    """Chooses, for a finished structure, what each layer has: the error that the drop leaves room for is shared out.

    Each value of each layer is applied alone, for its gain and for what it adds to the outputs' error; an integer
    programme takes the mixture of most gain within a budget of added error, its file is verified, and the budget
    follows the drop that was measured: the sum of errors forecasts no drop, but it orders mixtures.
    """

    settles = True

    def run(self) -> None:
        """Settle the best structure, by the finisher that the untouched network gained most by, then by the others.

        Bytes are won layer by layer. Speed is, where all layers together are within the limit, won by all together.
        """
        if not self._pays():
            return
        taken = self.finisher_decision()
        best = max(self.of_stage("full"), key=self._expected, default=None)
        for item in sorted(self.job.finishers, key=lambda p: not self._offers(p, taken)):
            if best is None:
                return
            with self.bench.attempt("full", best.decision, best.number):
                if self._offers(item, taken) and not self.is_finished(best):
                    self._verified(item, self._base(best), best.decision.merge(taken), best)
                self.settle(item, best)

    def _pays(self) -> bool:
        """Say whether choosing layer by layer may gain something beyond a finisher for the whole network."""
        if "size" in self.job.objectives.wanted:
            return True
        finished = [t for t in self.of_stage("full") if self.is_finished(t) and t.gain > PAYS]
        return bool(finished) and not any(map(self.bench.feasible, finished))

    def _expected(self, trial: Trial) -> float:
        """Return a trial's merit; of one that is not finished as if it gained what the untouched network does."""
        taken = self.finished_untouched()
        return self.merit(trial) * (1.0 if taken is None or self.is_finished(trial) else taken.gain)

    def _offers(self, item: Pass, decision: Decision) -> bool:
        return any(c.name in decision for c in item.space(self.job.net, self.job.target))

    def settle(self, item: Pass, trial: Trial) -> None:
        """Try mixtures of a finisher's values on the structure of a trial."""
        base, scope = self._base(trial), self._scope(item)
        if scope is None or self._left() < self.file_seconds:
            return
        self.say(f"settling {next(iter(scope))} of trial {trial.number} layer by layer")
        measured = self._measured(item, base.net, scope)
        if not measured.choices:
            return
        limit = SPARE * self.job.max_drop if self.job.max_drop is not None else math.inf
        budget, growth, seen = 0.25 * measured.largest, GROWTH**2, set[Decision]()
        for _ in range(MOST):
            mixture = measured.best(budget)
            if not mixture or mixture in seen:
                return
            seen.add(mixture)
            decision = self.structural(trial.decision).merge(scope).merge(mixture)
            found = self._verified(item, base, decision, trial)
            if found is None:
                return
            if found.drop <= limit:
                budget *= growth
            else:
                growth = max(growth**0.5, LEAST_GROWTH)
                budget /= growth

    def _base(self, trial: Trial) -> Result:
        """Return the structure of a trial with its weights, before any finisher."""
        origin = trial
        while self.is_finished(origin) and origin.parent is not None and origin.parent >= 0:
            origin = self.study.trials[origin.parent]
        plain = self.bench.structure(self.structural(origin.decision))
        return plain if self.is_finished(origin) else Result(self.bench.rebuild(origin), plain.changed, plain.skipped)

    def _verified(self, item: Pass, base: Result, decision: Decision, trial: Trial) -> Trial | None:
        """Return what is found of a decision, which a resumed study may know; None where there is no time to look."""
        known = next((t for t in self.of_stage("full", "predicted") if t.decision == decision), None)
        if known is not None or self._left() < self.file_seconds:
            return known
        done = base.then(item.apply(base.net, decision, self.run_))
        return self.verify(done, decision, trial.samples, trial.number)

    def _scope(self, item: Pass) -> Decision | None:
        """Return the decision under which a finisher's choices for single layers count; None if it has none."""
        for choice in item.space(self.job.net, self.job.target):
            if choice.when is not None:
                return Decision({choice.when[0]: choice.when[1][0]})
        return None

    def _measured(self, item: Pass, net: Net, scope: Decision) -> Measured:
        """Apply each value of each choice alone, in as much time as half of what is left."""
        until = self.run_.budget.spent_seconds + self._left() / 2
        whole, error = self._gain(net), self.bench.output_error(net)
        found = Measured([], [], [])
        for choice in item.space(net, self.job.target):
            if choice.when is None or (self.timed and self.run_.budget.spent_seconds > until):
                continue
            rows = [self._alone(item, net, scope, choice, value) for value in choice.values]
            if max(gain for gain, _ in rows) > SAVED * whole:
                found.choices.append(choice)
                found.costs.append([whole / gain - 1 for gain, _ in rows])
                found.errors.append([max(own - error, 0.0) for _, own in rows])
        return found

    def _alone(self, item: Pass, net: Net, scope: Decision, choice: Choice, value: Value) -> tuple[float, float]:
        """Return the gain of a network in which one choice alone has a value, and the error of its outputs."""
        done = item.apply(net, scope.merge({choice.name: value}), self.run_).net if value != choice.identity else net
        return self._gain(done), self.bench.output_error(done)

    def _gain(self, net: Net) -> float:
        """Return a network's gain from its file, which is timed only where speed is wanted."""
        objectives, whole = self.job.objectives, self.bench.original_bytes
        if "speed" not in objectives.wanted:
            return objectives.gain(1.0, whole / self.bench.size_of(net))
        timed = self.bench.time_net(net, None)
        return objectives.gain(timed["latency"].ratio, whole / timed["size_bytes"])

    def _left(self) -> float:
        return self.run_.budget.left_seconds - self.reserve_seconds
