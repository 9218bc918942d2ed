"""`ElasticExplore`: one training for all candidates; each is then cut from it and scored, not trained."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

from whet.core.net import Net
from whet.core.passes import Chain, Freezes, Pass, Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.strategy import Strategy
from whet.core.study import Trial
from whet.decisions.planner import Planner
from whet.elastic.supernet import Supernet
from whet.flow.explore import Explore
from whet.flow.forecast import BELIEVED, NOISE, SPARE, Pair, Recovery
from whet.flow.rungs import RUNGS, best_last, beyond, planned
from whet.flow.stage import Plan
from whet.flow.workbench import Workbench
from whet.train.state import load_state, save_state

POOL = 200
"""How many proposals a supernet is trained on where the strategy has no chain of them."""
LEGS = ((0.35, RUNGS), (0.65, 4), (1.0, 3))
"""The shares of the supernet's time or samples at which fewer rungs go on, and how many are trained until then at most.

A training ends only where rungs are left behind, for the next begins at the full learning rate: three rungs of
ResNet-20 lost 0.68, 0.92 and 1.24 points after three trainings of 560 thousand images together, and 0.72, 1.02 and
1.04 after one of 240 thousand that a fourth rung shared.
"""
CHOSEN_UNTIL = 0.75
"""The share of the budget after which the training of a chain ends whose last rungs were chosen by their drops.

Such a chain ends about the limit, and more training is what its last rung lacks: ResNet-20's ended at x1.84, and at
x1.61 where it was trained for 0.4 of the budget, without a rung beyond the chosen one. Where six rungs only cross the
limit somewhere, the time is for what extends them: ResNet-44's ended at x1.91 when it was trained as long.
"""
UNTRAINED = 5.0
"""How many times the drop after training that of an untrained cut is, about: the probes' forecasts are of those.

At a limit of 1% the rungs that ended at it had forecasts of 12 to 22% on ResNet-20 and ResNet-44.
"""
VERIFIED = 4
"""How many sub-networks are verified at most as they come out of the supernet."""


def checkpoints() -> list[str]:
    """Return the names of the files that a supernet's trainings write into the study's folder."""
    return [f"supernet-{leg}{suffix}" for leg in range(len(LEGS) + 1) for suffix in (".safetensors", ".part")]


def frozen(passes: tuple[Pass, ...], net: Net, run: Run) -> tuple[Pass, ...]:
    """Return passes that choose the same atoms whatever the weights are, so that sub-networks nest."""
    return tuple(p.frozen(net, run) if isinstance(p, Freezes) else p for p in passes)


class ElasticExplore(Explore):
    """Explores sub-networks of one supernet, trained together as a chain: each cuts what the one before cuts, and more.

    The chain (`Planner.chain`) goes from the damage that any training mends to more than the whole budget could.
    Few nested sub-networks share parameters with little harm to each other, where hundreds of unlike ones do not: on
    ResNet-44, 280 thousand images spread over 200 proposals left a drop of 5.6 points at a speed-up of 1.8, where 10
    thousand for that candidate alone left 1.2. After each leg of the training the rungs are scored, and fewer of them,
    those around the one that is expected to end at the limit, are trained on. What the leg did to the drops sharpens
    that expectation. Where the chain has room for more rungs, the first leg trains rivals of its last one beside it:
    what untrained cuts lose says little about which of two that gain alike is the better after training. The best of
    them stays, one rung goes beyond it, and the training goes on for most of the budget. A candidate is extracted, its
    batch norms re-estimated, and scored: about a second, however long the supernet was trained. The best within the
    limit are verified at once.

    Paper: Valipour et al. 2023, SortedNet, whose sub-networks are nested by construction and need no search; it
    accumulates the gradients of several of them for each update, where each step here trains one.
    """

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        super().__init__(bench, plan)
        self.rungs: list[Decision] = []
        self.rivals: list[Decision] = []
        self.places: list[int] = []
        """Where the rungs' drops are, once the last one was chosen, among those of all that the first leg trained."""

    def explore(self) -> None:
        self.supernet = self.trained()
        self.strategy.enqueue(self.rungs[: self.kept.stop])
        super().explore()
        self.verify_best()

    def most_candidates(self) -> float:
        """Return how many candidates are tried: of a chain its rungs, beside which the supernet was trained on none."""
        return self.kept.stop if self._chained and self.job.trials is None else super().most_candidates()

    def short_seconds(self) -> float:
        return 0.0

    def explore_until(self) -> float:
        return (self.until + self.plan.elastic_explore_share) * self.job.budget_seconds

    def finals_seconds(self) -> float:
        return super().finals_seconds() * (1 - self.until if self.rivals else 1.0)

    @property
    def until(self) -> float:
        """The share of the budget after which the supernet's training ends."""
        return max(CHOSEN_UNTIL, self.plan.elastic_until) if self.rivals else self.plan.elastic_until

    # -- the supernet --------------------------------------------------------------------------------------------

    def trained(self) -> Supernet:
        """Train the supernet, or go on where a killed study stopped, or read the finished one."""
        self.rungs, self.rivals = self._rungs()
        passes = Chain(self.job.passes)
        supernet = Supernet(self.job.net, passes, self.run_, space=self.space, schedule=self.scheduled)
        for leg in range(len(self.legs)):
            self.kept = self._window(leg)
            self.trains = self._trains(leg)
            self._leg(supernet, leg)
            if leg + 1 < len(self.legs):
                self._score(supernet, leg)
            if not leg and self.rivals:
                self._settle(supernet)
        return supernet

    def scheduled(self, step: int) -> Decision:
        """Return which sub-network a step trains."""
        return self.trains[random.Random(self.job.seed * 1_000_003 + step).randrange(len(self.trains))]

    def _trains(self, leg: int) -> list[Decision]:
        """Return what a leg's steps draw from: the kept rungs and, at first, the rivals.

        In the last leg of a chain whose last rungs were chosen every other step is the furthest one's, which learns
        slowest.
        """
        kept = self.rungs[self.kept] or [Decision()]
        if self.rivals and leg + 1 == len(self.legs):
            return kept[:-1] + kept[-1:] * max(len(kept) - 1, 1)
        return kept + (self.rivals if not leg else [])

    def _settle(self, supernet: Supernet) -> None:
        """Choose the last rung among itself and its rivals, and add one that goes beyond it."""
        planner, scored, last = cast(Planner, self.planner), [*self.rungs, *self.rivals], len(self.rungs) - 1
        drops, noise = self.study.recall("supernet_drops_0"), NOISE * (self.job.max_drop or 0.0)
        best = best_last(planner, scored, last, drops[: len(scored)], noise)
        further = beyond(planner, scored[best])
        self.rungs = [*self.rungs[:last], scored[best], *further]
        if len(drops) == len(scored):
            self.study.remember("supernet_drops_0", [*drops, *(self._drop(supernet, rung) for rung in further)])
        self.places = [*range(last), best, *range(len(scored), len(scored) + len(further))]

    @property
    def _chained(self) -> bool:
        """Whether the rungs are a chain that ends where a limit is expected."""
        return self.job.max_drop is not None and isinstance(self.strategy, Planner) and bool(self.rungs)

    @cached_property
    def legs(self) -> list[tuple[float, int]]:
        """The share of the plan at which each of the supernet's trainings ends, and how many sub-networks it trains.

        Drawn up before the last rung is chosen among its rivals, and followed by one more.
        """
        total, rivals = len(self.rungs), len(self.rivals)
        trained = [min(most, total) if self._chained else total for _, most in LEGS]
        trained[0] += rivals
        trained[-1] = min(LEGS[-1][1], total + 1) if rivals else trained[-1]
        longer = self.until / self.plan.elastic_until if self.plan.elastic_samples is None else 1.0
        legs = [(share, most) for (share, _), most in zip(LEGS, trained, strict=True)]
        legs[-1] = longer, trained[-1]
        return [leg for leg, later in pairwise(legs) if leg[1] > later[1]] + legs[-1:]

    def _leg(self, supernet: Supernet, leg: int) -> None:
        """Train the supernet until a leg's end."""
        finished = self.job.out / f"supernet-{leg}.safetensors"
        if finished.exists():
            load_state(finished, supernet)
            return
        self.say(f"training {len(set(self.trains))} sub-networks at once")
        seconds = self.legs[leg][0] * self.plan.elastic_until * self.job.budget_seconds - self.run_.budget.spent_seconds
        samples = self.plan.elastic_samples and self.plan.elastic_samples * self._portion(leg)
        report = self.run_.fit(
            supernet, recipe=replace(self.job.recipe, hints=()), checkpoint=self.job.out / f"supernet-{leg}.part",
            **self.plan.limit(max(seconds, 2.0), samples),
        )  # fmt: skip
        self.study.remember(f"supernet_samples_{leg}", report.samples)
        self.study.remember("supernet_samples_per_second", report.samples_per_second)
        save_state(supernet, finished)

    def _portion(self, leg: int) -> float:
        return self.legs[leg][0] - (self.legs[leg - 1][0] if leg else 0.0)

    @cached_property
    def planner(self) -> Strategy:
        """The strategy that knows the probes alone."""
        strategy = self.new_strategy(self.job.seed + 1, UNTRAINED)
        self.inform(strategy)
        return strategy

    def _rungs(self) -> tuple[list[Decision], list[Decision]]:
        """Return the rungs and, where a chain has few, rivals of its last one."""
        if not isinstance(self.planner, Planner):
            return self.planner.ask(POOL), []
        chain, rivals = planned(self.planner)
        return chain, rivals if self.job.max_drop is not None else []

    def _window(self, leg: int) -> slice:
        """Return which rungs a leg trains: those around the furthest that is expected to end within the limit."""
        limit, most = self.job.max_drop or 0.0, self.legs[leg][1]
        if not leg or most == len(self.rungs):
            return slice(0, len(self.rungs))
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
        drops = self.study.recall(f"supernet_drops_{leg}") or []
        return drops if leg or not self.places else [drops[i] for i in self.places]

    def _score(self, supernet: Supernet, leg: int) -> None:
        if not self.study.recall(f"supernet_drops_{leg}"):
            drops = [self._drop(supernet, rung) for rung in self.rungs + (self.rivals if not leg else [])]
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
        return float(max(self.legs[leg][1], 1) ** -0.5)

    def _samples_to_come(self, leg: int) -> float:
        """Return what a rung will be trained on from a leg on: its part of the legs, and one full training."""
        plan = self.plan
        legs = sum(self._sharing(later) * self._portion(later) for later in range(leg, len(self.legs)))
        if plan.elastic_samples is not None:
            return legs * plan.elastic_samples + (plan.full_samples or 0)
        full = max(1 - self.until - plan.elastic_explore_share, 0.0) / plan.rounds(self.finals_seconds())
        per_second = float(self.study.recall("supernet_samples_per_second"))
        return per_second * self.job.budget_seconds * (plan.elastic_until * legs + full)

    # -- what is cut from it -------------------------------------------------------------------------------------

    def short(self, decision: Decision, duration: float | None, result: Result | None = None) -> Trial:
        """Cut a candidate from the supernet, time it, score it in torch on part of the validation data.

        What extends a structure that was trained in earnest goes on from that one, with a short training.
        """
        if any(t.samples and t.decision.items() <= decision.items() for t in self.of_stage("full")):
            return super().short(decision, super().short_seconds())
        result = self.bench.cut(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net = self.bench.recalibrated(self.supernet.extract(decision))
        return self.bench.record(
            "short", decision, self.bench.quick_quality(net), reference=self.bench.quick_reference(),
            samples=self._own_samples(len(self.legs)), changed=result.changed, skipped=result.skipped, net=net, **timed,
        )  # fmt: skip

    def verify_best(self) -> None:
        """Verify the candidates of the front within the limit as they are: they need no training of their own."""
        front = self.front_of(t for t in self.of_stage("short") if t.parent is None)
        verified = {t.parent for t in self.of_stage("full")}
        for trial in sorted(front, key=lambda t: -t.gain)[:VERIFIED]:
            left = self.run_.budget.left_seconds - self.reserve_seconds
            if trial.number in verified or left < self.file_seconds:
                continue
            self.say(f"verifying sub-network {trial.number}")
            with self.bench.attempt("full", trial.decision, trial.number):
                result: Any = replace(self.bench.cut(trial.decision), net=self.bench.rebuild(trial))
                self.verify(result, trial.decision, trial.samples, trial.number)
