"""`ElasticExplore`: one training for all candidates; each is then cut from it and scored, not trained."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

from whet.compress.importance import Frozen
from whet.compress.width import Width
from whet.core.front import non_dominated
from whet.core.net import Net
from whet.core.passes import Chain, Pass
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Trial
from whet.elastic.supernet import Supernet
from whet.flow.explore import Explore
from whet.flow.forecast import BELIEVED, SPARE, Pair, Recovery
from whet.search.predictors.linear import distance
from whet.search.strategies.sensitivity import Sensitivity
from whet.train.state import load_state, save_state

POOL = 200
"""How many proposals a supernet is trained on where the strategy has no chain of them."""
RUNGS = 6
LEGS = ((0.35, RUNGS), (0.65, 4), (1.0, 3))
"""The shares of the supernet's time or samples at which its trainings end, and how many rungs each trains at most."""
UNTRAINED = 5.0
"""How many times the drop after training that of an untrained cut is, about: the probes' forecasts are of those.

At a limit of 1% the rungs that ended at it had forecasts of 12 to 22% on ResNet-20 and ResNet-44.
"""
VERIFIED = 4
"""How many sub-networks are verified at most as they come out of the supernet."""


def frozen(passes: tuple[Pass, ...], net: Net, run: Run) -> tuple[Pass, ...]:
    """Return passes that choose the same atoms whatever the weights are, so that sub-networks nest."""

    def freeze(item: Pass) -> Pass:
        if isinstance(item, Width) and isinstance(item.importance, str):
            return replace(item, importance=Frozen.of(net, item.importance, run, item.samples))
        return item

    return tuple(map(freeze, passes))


class ElasticExplore(Explore):
    """Explores sub-networks of one supernet, trained together as a chain: each cuts what the one before cuts, and more.

    The chain (`Sensitivity.chain`) goes from the damage that any training mends to more than the whole budget could.
    Few nested sub-networks share parameters with little harm to each other, where hundreds of unlike ones do not: on
    ResNet-44, 280 thousand images spread over 200 proposals left a drop of 5.6 points at a speed-up of 1.8, where 10
    thousand for that candidate alone left 1.2. After each leg of the training the rungs are scored, and fewer of them,
    those around the one that is expected to end at the limit, are trained on. What the leg did to the drops sharpens
    that expectation. A candidate is extracted, its batch norms re-estimated, and scored: about a second, however long
    the supernet was trained. The best within the limit are verified at once.

    Paper: Valipour et al. 2023, SortedNet (P080), whose sub-networks are nested by construction and need no search; it
    accumulates the gradients of several of them for each update, where each step here trains one.
    """

    def explore(self) -> None:
        self.supernet = self.trained()
        self.strategy.enqueue(self.rungs[: self.kept.stop])
        super().explore()
        self.verify_best()

    def most_candidates(self) -> float:
        """Return how many candidates are tried: of a chain its rungs, beside which the supernet was trained on none."""
        most = super().most_candidates()
        return min(most, self.kept.stop) if self._narrows(len(LEGS) - 1) else most

    def short_seconds(self) -> float:
        return 0.0

    def explore_until(self) -> float:
        return (self.plan.elastic_until + self.plan.elastic_explore_share) * self.job.budget_seconds

    # -- the supernet --------------------------------------------------------------------------------------------

    def trained(self) -> Supernet:
        """Train the supernet, or go on where a killed study stopped, or read the finished one."""
        self.rungs = self._rungs()
        passes = Chain(self.job.passes)
        supernet = Supernet(self.job.net, passes, self.run_, space=self.space, schedule=self.scheduled)
        for leg in range(len(LEGS)):
            self.kept = self._window(leg)
            self._leg(supernet, leg)
            if leg + 1 < len(LEGS) and self._narrows(leg + 1):
                self._score(supernet, leg)
        return supernet

    def scheduled(self, step: int) -> Decision:
        """Return which sub-network a step trains: one of the rungs that are kept."""
        rungs = self.rungs[self.kept] or [Decision()]
        return rungs[random.Random(self.job.seed * 1_000_003 + step).randrange(len(rungs))]

    def _leg(self, supernet: Supernet, leg: int) -> None:
        """Train the supernet until a leg's end."""
        finished = self.job.out / f"supernet-{leg}.safetensors"
        if finished.exists():
            load_state(finished, supernet)
            return
        self.say(f"training {len(self.rungs[self.kept])} sub-networks at once")
        seconds = LEGS[leg][0] * self.plan.elastic_until * self.job.budget_seconds - self.run_.budget.spent_seconds
        samples = self.plan.elastic_samples and self.plan.elastic_samples * self._portion(leg)
        report = self.run_.fit(
            supernet, recipe=replace(self.job.recipe, hints=()), checkpoint=self.job.out / f"supernet-{leg}.part",
            **self.plan.limit(max(seconds, 2.0), samples),
        )  # fmt: skip
        self.study.remember(f"supernet_samples_{leg}", report.samples)
        self.study.remember("supernet_samples_per_second", report.samples_per_second)
        save_state(supernet, finished)

    @staticmethod
    def _portion(leg: int) -> float:
        return LEGS[leg][0] - (LEGS[leg - 1][0] if leg else 0.0)

    def _rungs(self) -> list[Decision]:
        strategy = self.new_strategy(self.job.seed + 1, UNTRAINED)
        self.inform(strategy)
        if not isinstance(strategy, Sensitivity):
            return strategy.ask(POOL)
        furthest = Decision({c.name: max(c.values, key=partial(distance, c)) for c in self.space})
        high = min(strategy.budgets[1], strategy.damage(furthest))
        low = min(strategy.budgets[0], high / 10)
        return strategy.chain([low * (high / low) ** (i / (RUNGS - 1)) for i in range(RUNGS)]) if high else []

    def _narrows(self, leg: int) -> bool:
        """Say whether fewer than all rungs are trained in a leg."""
        chained = self.job.max_drop is not None and isinstance(self.strategy, Sensitivity)
        return chained and len(self.rungs) > LEGS[leg][1]

    def _window(self, leg: int) -> slice:
        """Return which rungs a leg trains: those around the furthest that is expected to end within the limit."""
        if not self._narrows(leg):
            return slice(0, len(self.rungs))
        limit, most = self.job.max_drop or 0.0, LEGS[leg][1]
        recovery = Recovery.learnt(limit, self._pairs(leg), believed=BELIEVED[False, True])
        spent, more = self._own_samples(leg), self._samples_to_come(leg)
        drops = self._drops(leg - 1)
        within = [i for i, drop in enumerate(drops) if recovery.expected(drop, spent, more) <= SPARE * limit]
        first = max(0, min(max(within, default=0) - most // 2, len(self.rungs) - most))
        return slice(first, first + most)

    def _pairs(self, legs: int) -> list[Pair]:
        """Return what each of the first so many legs did to the drops of the rungs that it trained."""
        return [
            (self._drops(leg - 1)[rung], self._own_samples(leg), self._drops(leg)[rung], self._own_samples(leg + 1))
            for leg in range(1, legs)
            for rung in range(len(self.rungs))[self._window(leg)]
            if self._drops(leg - 1)
        ]

    def _drops(self, leg: int) -> list[float]:
        """Return the drops of all rungs after a leg; none where nothing had to be chosen then."""
        return self.study.recall(f"supernet_drops_{leg}") or []

    def _score(self, supernet: Supernet, leg: int) -> None:
        if not self._drops(leg):
            drops = [self._drop(supernet, rung) for rung in self.rungs]
            self.study.remember(f"supernet_drops_{leg}", drops)

    def _drop(self, supernet: Supernet, decision: Decision) -> float:
        quality = self.bench.quick_quality(self.bench.recalibrated(supernet.extract(decision)))
        return self.job.task.loss_of_quality(quality, self.bench.quick_reference())

    def _own_samples(self, legs: int) -> int:
        """Return how many of the samples of the first so many legs count as a sub-network's own.

        Of k nested sub-networks that train at once, each gains as if from 1 / sqrt(k) of the samples.
        """
        seen = [self._sharing(leg) * self.study.recall(f"supernet_samples_{leg}") for leg in range(legs)]
        return max(1, int(sum(seen)))

    def _sharing(self, leg: int) -> float:
        trained = LEGS[leg][1] if self._narrows(leg) else len(self.rungs)
        return float(max(trained, 1) ** -0.5)

    def _samples_to_come(self, leg: int) -> float:
        """Return what a rung will be trained on from a leg on: its part of the legs, and one full training."""
        plan = self.plan
        legs = sum(self._sharing(later) * self._portion(later) for later in range(leg, len(LEGS)))
        if plan.elastic_samples is not None:
            return legs * plan.elastic_samples + (plan.full_samples or 0)
        full = max(1 - plan.elastic_until - plan.elastic_explore_share, 0.0) / plan.rounds(self.job.budget_seconds)
        per_second = float(self.study.recall("supernet_samples_per_second"))
        return per_second * self.job.budget_seconds * (plan.elastic_until * legs + full)

    # -- what is cut from it -------------------------------------------------------------------------------------

    def short(self, decision: Decision, duration: float) -> Trial:
        """Cut a candidate from the supernet, time it, score it in torch on part of the validation data.

        What extends a structure that was trained in earnest goes on from that one, with a short training.
        """
        if any(t.samples and t.decision.items() <= decision.items() for t in self.of_stage("full")):
            return super().short(decision, super().short_seconds())
        result = self.bench.structure(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net = self.bench.recalibrated(self.supernet.extract(decision))
        return self.bench.record(
            "short", decision, self.bench.quick_quality(net), reference=self.bench.quick_reference(),
            samples=self._own_samples(len(LEGS)), changed=result.changed, skipped=result.skipped, net=net, **timed,
        )  # fmt: skip

    def verify_best(self) -> None:
        """Verify the candidates of the front within the limit as they are: they need no training of their own."""
        within = [t for t in self.of_stage("short") if t.parent is None and self.bench.feasible(t)]
        front = [within[i] for i in non_dominated([(-t.speedup, t.drop) for t in within])]
        verified = {t.parent for t in self.of_stage("full")}
        for trial in sorted(front, key=lambda t: -t.speedup)[:VERIFIED]:
            left = self.run_.budget.left_seconds - self.reserve_seconds
            if trial.number in verified or left < self.file_seconds:
                continue
            self.say(f"verifying sub-network {trial.number}")
            result: Any = replace(self.bench.structure(trial.decision), net=self.bench.rebuild(trial))
            self.verify(result, trial.decision, trial.samples, trial.number)
