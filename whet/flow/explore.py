"""`Explore`: what needs no training, one choice at a time, then many candidates with a little training each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest
from statistics import fmean
from typing import Any

from whet.core.passes import Chain
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation, Strategy
from whet.core.study import Trial
from whet.decisions.ledger import LedgerStrategy
from whet.flow.forecast import NOISE, POWER
from whet.flow.stage import SAVE_SECONDS, Plan, Stage
from whet.flow.workbench import Workbench
from whet.search import strategies
from whet.search.predictors.operations import Operations
from whet.search.strategies.sensitivity import Sensitivity

REACH = (1.5, 6.0)
"""The damage after a short training, in shares of the limit, that first proposals may do: about what can be mended."""
AIM = (0.6, 1.2)
"""The damage that a strategy may do when it is aimed, in shares of the drop that it is aimed at."""

EXPLORED_SECONDS = 15.0
"""How long candidates are tried at least, however long the probes took, where there is time."""

LASTING = {"width": 3.0}
"""How many times more of a probe's damage outlasts a short training, by kind of choice, than of a dropped block's.

Of factors from 1 to 6, 3 forecasts candidates best: the mean |log(forecast / measured)| of a candidate's drop from
those before it is 0.27 where a factor of 1 has 0.31 (141 candidates of 15 searches on ResNet-20, ResNet-44 and an MLP).
"""


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


class Explore(Stage):
    """The stages before the finals: the untouched network with the finishers, probes, and short trainings."""

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        super().__init__(bench, plan)
        self.strategy = self.new_strategy(bench.job.seed)

    def new_strategy(self, seed: int, scale: float = 1.0) -> Strategy:
        """Return the job's strategy; `scale` multiplies the damage that its proposals may do, if it bounds that."""
        limit = self.job.max_drop
        budgets = (limit * REACH[0] * scale, limit * REACH[1] * scale) if limit else (0.003 * scale, 0.2 * scale)
        strategy = strategies.get(self.job.strategy, self.space, seed=seed)
        if isinstance(strategy, Sensitivity):
            strategy.budgets = budgets
        if isinstance(strategy, LedgerStrategy):
            strategy.operations = lambda decision: self.operations(decision)
        return strategy

    @cached_property
    def operations(self) -> Operations:
        """How many operations a decision leaves; made when a strategy asks, for it takes a network a value."""
        return Operations(self.job.net, Chain(self.job.passes), self.space, self.run_)

    def run(self) -> None:
        self.finish_identity()
        if len(self.space):
            self.probe()
            self.explore()

    def finish_identity(self) -> None:
        """Try the finishers on the untouched network: the cheapest candidates, often good ones.

        Each way is tried until one costs next to nothing.
        """
        enough = math.inf if self.job.max_drop is None else NOISE * self.job.max_drop
        for way in self.ways():
            left = self.run_.budget.left_seconds - self.reserve_seconds
            if self.timed and left < self.file_seconds:
                if not self.untouched():
                    self.bench.note(
                        f"the budget of {self.job.budget_seconds:.0f} s is too short to try int8: what comes before "
                        f"took {self.run_.budget.spent_seconds:.0f} s, a file takes {self.file_seconds:.0f} s, and the "
                        f"delivery {self.reserve_seconds:.0f} s"
                    )
                return
            failed = any(t.decision == way for t in self.failures("full"))
            if failed or any(t.decision == way or t.drop <= enough for t in self.untouched()):
                continue
            self.say("int8 without training")
            with self.bench.attempt("full", way):
                self.verify(self.bench.finish(self.job.net, way), way, 0, None)

    # -- stage 1: one choice at a time ---------------------------------------------------------------------------

    def probe(self) -> None:
        """Score, and where the budget allows time, each single choice without training: where forecasts begin.

        Where the budget is short of that, some of each kind.
        """
        done = {t.decision for t in self.of_stage("probe", "predicted") + self.failures("probe")}
        allowed = self.plan.probe_share * self.job.budget_seconds
        step = self.bench.cost("save", SAVE_SECONDS) + self.bench.cost("race", 1.0)
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
                    self._probe(decision, timed)
        self.inform(self.strategy)

    def inform(self, strategy: Strategy) -> None:
        """Tell a strategy that can use it what the probes found."""
        if isinstance(strategy, Sensitivity):
            strategy.believe(*self._beliefs())

    def _probe(self, decision: Decision, timed: bool) -> None:
        result = self.bench.structure(decision)
        if not result.changed:
            return
        figures: dict[str, Any] = {}
        if timed:
            figures |= self.bench.time_net(result.net, None)
        else:
            figures["speedup"] = self.bench.forecast_speedup(result.net)
            figures["note"] = "speed-up predicted from multiply-accumulates, not measured"
        net = result.net if self.bench.repairs else self.bench.recalibrated(result.net)
        quality = self.bench.quick_quality(net)
        self.bench.record(
            "probe" if timed else "predicted",
            decision,
            quality,
            reference=self.bench.quick_reference(),
            skipped=result.skipped,
            **figures,
        )

    @staticmethod
    def _probe_value(values: Sequence[Any], identity: Any) -> Any:
        others = [v for v in values if v != identity]
        return others[len(others) // 2] if others else identity

    def _beliefs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return each choice's effect on log latency and on the drop that lasts, per unit of distance.

        What was not probed is believed to be like the mean of its kind, if any of that was probed.
        """
        from whet.search.predictors.linear import distance

        latency: dict[str, float] = {}
        damage: dict[str, float] = {}
        for trial in self.of_stage("probe", "predicted"):
            name, value = next(iter(trial.decision.items()))
            choice = self.space.choices[name]
            step = max(distance(choice, value), 1e-6)
            latency[name] = -math.log(max(trial.speedup, 1e-6)) / step
            damage[name] = LASTING.get(choice.kind, 1.0) * max(trial.drop, 0.0) / step
        return self._filled(latency), self._filled(damage)

    def _filled(self, effects: dict[str, float]) -> dict[str, float]:
        kinds: dict[str, list[float]] = {}
        for name, effect in effects.items():
            kinds.setdefault(self.space.choices[name].kind, []).append(effect)
        return {c.name: fmean(kinds[c.kind]) for c in self.space if c.kind in kinds} | effects

    # -- stage 2: many candidates, a little training each --------------------------------------------------------

    def explore(self) -> None:
        """Give each proposed candidate a short fine-tuning; most are not trained further."""
        observed = self.of_stage("short")
        for trial in observed:
            self._tell(trial)
        failed = self.failures("short")
        self.strategy.tell(Observation(self._structural(t.decision)) for t in failed)
        least = min(EXPLORED_SECONDS, self.plan.explore_until * self.run_.budget.left_seconds)
        until = max(self.explore_until(), self.run_.budget.spent_seconds + least)
        until = min(until, self.job.budget_seconds - self.reserve_seconds)
        count = len(observed) + len(failed)
        while count < self.most_candidates() and not self.hopeless() and self.one_more(until):
            count += 1

    def most_candidates(self) -> float:
        """Return how many candidates are tried at most."""
        return math.inf if self.job.trials is None else self.job.trials

    def one_more(self, until: float) -> bool:
        """Try the strategy's next proposal if it will be done `until` then; say whether there was one."""
        short = self.short_seconds()
        step = short + self.bench.cost("save", SAVE_SECONDS) + self.bench.cost("race", 2.0)
        asked = self.strategy.ask(1) if self.run_.budget.spent_seconds + step <= until else []
        if asked and not len(asked[0]):  # the untouched network has been tried already
            asked = self.strategy.ask(1)
        if asked:
            self._try(asked[0], short)
        return bool(asked)

    def _try(self, decision: Decision, seconds: float) -> None:
        """Train a candidate briefly and tell the strategy what came of it, also where it failed."""
        with self.bench.attempt("short", decision):
            self._tell(self.short(decision, seconds))
            return
        self.strategy.tell([Observation(self._structural(decision))])

    def _structural(self, decision: Decision) -> Decision:
        return Decision({n: v for n, v in decision.items() if n in self.space.choices})

    def aim(self, drop: float, base: Decision | None = None) -> bool:
        """Have the strategy propose candidates whose drop is about `drop`, or which do such damage beyond `base`.

        Says whether the strategy can.
        """
        if not isinstance(self.strategy, Sensitivity):
            return False
        self.strategy.aim((drop * AIM[0], drop * AIM[1]), base)
        return True

    def finals_seconds(self) -> float:
        """Return the budget that full trainings are planned for."""
        return self.job.budget_seconds

    def explore_until(self) -> float:
        """Return the seconds of the budget after which no candidate is begun."""
        return self.plan.explore_until * self.job.budget_seconds

    def short_seconds(self) -> float:
        """Return how long a candidate is trained here; where the budget is in epochs, samples limit it instead."""
        short = max(self.plan.short_seconds, self.plan.short_share * self.job.budget_seconds)
        return 0.0 if math.isinf(short) else short

    def _tell(self, trial: Trial) -> None:
        """Tell the strategy what a short training found; the drop as it would be without what was inherited."""
        excess = max(0.0, trial.drop - 4 * self.job.max_drop) if self.job.max_drop is not None else 0.0
        own = max(trial.samples - self.samples_of(trial.parent), 1)
        drop = trial.drop * (self.fresh_samples(trial) / own) ** POWER if trial.samples else trial.drop
        values = trial.speedup / self.base_speedup, drop
        self.strategy.tell([Observation(self._structural(trial.decision), values, excess)])

    @property
    def base_speedup(self) -> float:
        """The speed-up of the untouched structure with the finishers: what structural choices multiply."""
        taken = self.finished_untouched()
        return 1.0 if taken is None else max(1.0, taken.speedup)

    def short(self, decision: Decision, duration: float) -> Trial:
        """Time a candidate, fine-tune it briefly, score it in torch on part of the validation data."""
        result = self.bench.structure(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net, parent = self.bench.inherit(decision, result.net)
        samples = self.samples_of(parent)
        if parent is None and not self.bench.repairs:
            self.bench.recalibrated(net)
        report = self.bench.train(net, self.job.recipe, "short", **self.plan.limit(duration, self.plan.short_samples))
        return self.bench.record(
            "short", decision, self.bench.quick_quality(net), reference=self.bench.quick_reference(),
            samples=samples + report.samples, parent=parent, changed=result.changed, skipped=result.skipped, net=net,
            **timed,
        )  # fmt: skip
