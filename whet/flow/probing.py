"""`Probing`: what each single choice does, without training: where forecasts begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest
from statistics import median
from typing import Any

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.decisions.planner import Planner
from whet.flow.foretold import LEAST_SHARE, Foretold, normal, scaled, together
from whet.flow.limits import quality_at
from whet.flow.stage import SAVE_SECONDS, Plan, Stage
from whet.flow.workbench import Workbench
from whet.search.predictors.linear import distance

NEAREST = 3
"""How many scored candidates drops are told from errors by: those nearest to the limit, for the rate rises with it."""
FEWER = 0.5
"""The share of the time for probes that is taken where nothing is trained: candidates then cost little more than they
do, and what passes foretell needs only a scale."""
DIGITS = 6
"""Of an error and of what it tells: sums of floats differ from run to run in the last digits, studies must not."""
DROP_OF_ERROR = 0.3
"""The drop for each unit of error where no candidate was scored."""


def probing_order(space: Space) -> list[Choice]:
    """Return the choices so that any first few hold every kind, and of each kind some from all over the network.

    Within a kind the order is that of the reversed binary digits of the positions: 0, 4, 2, 6, 1, 5, 3, 7.
    """
    kinds: dict[str, list[Choice]] = {}
    for choice in space:
        kinds.setdefault(choice.kind, []).append(choice)
    columns = []
    for alike in kinds.values():
        digits = len(alike).bit_length()
        columns.append([alike[i] for i in sorted(range(len(alike)), key=lambda i: f"{i:0{digits}b}"[::-1])])
    return [choice for row in zip_longest(*columns) for choice in row if choice is not None]


class Probing(Stage):
    """Probes each choice once and says what that makes believe.

    `untrained` has the outputs' error and the drop of candidates that were scored as they were repaired.
    """

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        super().__init__(bench, plan)
        known = bench.study.recall("untrained") or {}
        self.untrained = {Decision.from_json(key): (float(error), float(drop)) for key, (error, drop) in known.items()}

    def remember(self, decision: Decision, error: float, drop: float) -> None:
        """Keep the outputs' error and the drop of a scored candidate, also for when the study is resumed."""
        self.untrained[decision] = round(error, DIGITS), drop
        self.study.remember("untrained", {d.to_json(): pair for d, pair in self.untrained.items()})

    def quality_told(self, rate: float, error: float) -> float:
        """Return the quality that the error of a net's outputs tells."""
        drop = round(rate * error, DIGITS)
        return quality_at(drop, self.reference(), self.job.task)

    def drop_told(self, error: float) -> float:
        """Return the drop that the error of a net's outputs tells by now."""
        return self.job.task.loss_of_quality(self.quality_told(self.rate(), error), self.reference())

    def reference(self) -> float:
        """Return the quality that drops are told from: where nothing is trained nothing is scored in torch."""
        return self.bench.reference if self.job.task.train is None else self.bench.quick_reference()

    def explored(self) -> list[Trial]:
        """Return the trials of the exploration: repaired or briefly trained, and those that were verified at once."""
        full = [t for t in self.of_stage("full") if t.parent is None and not t.samples and self.structural(t.decision)]
        return sorted(self.of_stage("short") + full, key=lambda t: t.number)

    def probe(self) -> None:
        """Score, and where the budget allows time, each single choice without training: where forecasts begin.

        Where the budget is short of that, some of each kind.
        """
        done = {t.decision for t in self.of_stage("probe", "predicted") + self.failures("probe")}
        allowed = self.plan.probe_share * self.job.budget_seconds * (FEWER if self.job.task.train is None else 1.0)
        step = self.bench.cost("save", SAVE_SECONDS) + self.bench.cost("race", 1.0)
        told = self.told_by_errors()
        timed = len(self.space) * step < allowed
        until = min(self.run_.budget.spent_seconds + allowed, self.job.budget_seconds - self.reserve_seconds)
        for choice in probing_order(self.space):
            value = self._probe_value(choice.values, choice.identity)
            decision = self.space.canonical(Decision({choice.name: value}))
            if self.hopeless():
                break
            ready = self.run_.budget.spent_seconds + self.bench.cost("probe", step if timed else 0.0)
            if decision not in done and len(decision) and ready < until:
                self.say(f"probing {choice.name} = {value}")
                with self.bench.clock("probe"), self.bench.attempt("probe", decision):
                    self._probe(decision, timed, told)

    def told_by_errors(self) -> float | None:
        """Return the drop for each unit of the outputs' error, by the candidates that were scored; None without errors.

        An error on some hundred inputs says more of a single cut, which hardly loses anything, than the drop on a
        sample of the validation data, and costs less. What candidates lose corrects all such drops by one factor.
        """
        if not self.bench.repairs:
            return None
        seen = [(max(drop, 0.0), error) for error, drop in self.untrained.values() if error > 0]
        limit = self.job.max_drop or math.inf
        seen.sort(key=lambda each: abs(math.log(max(each[0], 1e-9) / limit)) if math.isfinite(limit) else 0.0)
        rates = [drop / error for drop, error in seen[:NEAREST]]
        return median(rates) if any(rates) else DROP_OF_ERROR

    def rate(self) -> float:
        """Return the drop for each unit of error, where there are errors."""
        return self.told_by_errors() or DROP_OF_ERROR

    def _probe(self, decision: Decision, timed: bool, told: float | None) -> None:
        result = self.bench.structure(decision)
        if not result.changed:
            return
        figures: dict[str, Any] = {}
        if timed:
            figures |= self.bench.time_net(result.net, None)
        else:
            figures |= self.bench.forecast(result.net)
            figures["note"] = "speed-up predicted from multiply-accumulates, not measured"
        reference = self.reference()
        if told is not None:
            quality = self.quality_told(told, self.bench.output_error(result.net))
            figures["note"] = "; ".join(filter(None, [figures.get("note"), "drop told from the error of the outputs"]))
        else:
            quality = self.bench.quick_quality(
                result.net if self.bench.repairs else self.bench.recalibrated(result.net)
            )
        self.bench.record(
            "probe" if timed else "predicted", decision, quality, reference=reference, skipped=result.skipped, **figures
        )

    @staticmethod
    def _probe_value(values: Sequence[Any], identity: Any) -> Any:
        others = [v for v in values if v != identity]
        return others[len(others) // 2] if others else identity

    @cached_property
    def foretold(self) -> Foretold:
        """What passes tell of the choices' values; nothing where candidates are not repaired, as they mean repaired."""
        if not self.bench.repairs:
            return Foretold()
        return Foretold.of(self.job.passes, self.job.net, self.run_, self.space.choices)

    def teach(self, strategy: Planner, base_gain: float) -> None:
        """Tell a strategy what passes foretell, what probes found, and what whole kinds gained together."""
        strategy.shape(*self.foretold.shapes())
        effects, damage = self._beliefs(strategy)
        explored = [t for t in self.explored() if t.parent is None]
        seen = [(self.structural(t.decision), -math.log(t.gain / base_gain)) for t in explored]
        steps = {c.name: [strategy.steps(c, v)[0] for v in c.values] for c in self.space}
        rows = {name: [effect * step for step in steps[name]] for name, effect in effects.items()}
        shape, latency = normal(together(rows, self.space.choices, seen), min)
        strategy.shape(shape, {})
        strategy.believe(dict.fromkeys(rows, 0.0) | latency, damage)

    def _beliefs(self, strategy: Planner) -> tuple[dict[str, float], dict[str, float]]:
        """Return each choice's effect on log latency and on the drop that lasts, per unit of the strategy's distances.

        What was not probed goes by what is foretold, or is believed to be like the mean of its kind.
        """
        latency: dict[str, float] = {}
        damage: dict[str, float] = {}
        for trial in self.of_stage("probe", "predicted"):
            if len(trial.decision) > 1:
                continue
            name, value = next(iter(trial.decision.items()))
            choice = self.space.choices[name]
            least = max(LEAST_SHARE * distance(choice, value), 1e-6)
            for_latency, for_damage = (max(step, least) for step in strategy.steps(choice, value))
            latency[name] = -math.log(max(trial.gain, 1e-6)) / for_latency
            lasting = 1.0 if self.bench.repairs else choice.lasting  # of repaired cuts training mends as much
            damage[name] = lasting * max(trial.drop, 0.0) / for_damage
        choices = list(self.space)
        return (
            scaled(latency, self.foretold.log_operations, choices, min),
            scaled(damage, self.foretold.damage, choices, max),
        )
