"""`ElasticExplore`: one training for all candidates; each is then cut from it and scored, not trained."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from whet.compress.importance import Frozen
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Chain, Pass
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Trial
from whet.elastic.supernet import Supernet
from whet.flow.explore import Explore
from whet.search.predictors.linear import distance
from whet.search.strategies.sensitivity import Sensitivity
from whet.train.state import load_state, save_state

POOL = 200
"""How many proposals a supernet is trained on where the strategy has no chain of them."""
RUNGS = 8
UNTRAINED = 8.0
"""How many times the drop after training that of an untrained cut is, about: the probes' forecasts are of those."""
EFFECTIVE = 0.3
"""The share of the supernet's samples that counts as a sub-network's own when its gain from more is forecast."""


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
    thousand for that candidate alone left 1.2. A candidate is extracted, its batch norms re-estimated, and scored:
    about a second, however long the supernet was trained.

    Paper: Valipour et al. 2023, SortedNet (P080), whose sub-networks are nested by construction and need no search; it
    accumulates the gradients of several of them for each update, where each step here trains one.
    """

    def explore(self) -> None:
        self.supernet = self.trained()
        self.strategy.enqueue(self.rungs)
        super().explore()

    def short_seconds(self) -> float:
        return 0.0

    def explore_until(self) -> float:
        return (self.plan.elastic_until + self.plan.elastic_explore_share) * self.job.budget_seconds

    def trained(self) -> Supernet:
        """Train the supernet, or go on where a killed study stopped, or read the finished one."""
        passes = Chain(self.job.passes)
        supernet = Supernet(self.job.net, passes, self.run_, space=self.space, schedule=self.schedule())
        finished: Path = self.job.out / "supernet.safetensors"
        if finished.exists():
            load_state(finished, supernet)
            return supernet
        self.say("training all sub-networks at once")
        allowed = self.plan.elastic_until * self.job.budget_seconds - self.run_.budget.spent_seconds
        limit: dict[str, Any] = self.plan.limit(max(allowed, 2.0), self.plan.elastic_samples)
        report = self.run_.fit(
            supernet, recipe=replace(self.job.recipe, hints=()), checkpoint=self.job.out / "supernet.part", **limit
        )
        self.study.remember("supernet_samples", report.samples)
        save_state(supernet, finished)
        return supernet

    def schedule(self) -> Any:
        """Return which sub-network each step trains: one of the rungs."""
        self.rungs = self._rungs()
        seed, rungs = self.job.seed, self.rungs or [Decision()]

        def at(step: int) -> Decision:
            return rungs[random.Random(seed * 1_000_003 + step).randrange(len(rungs))]

        return at

    def _rungs(self) -> list[Decision]:
        strategy = self.new_strategy(self.job.seed + 1, UNTRAINED)
        self.inform(strategy)
        if not isinstance(strategy, Sensitivity):
            return strategy.ask(POOL)
        furthest = Decision({c.name: max(c.values, key=partial(distance, c)) for c in self.space})
        high = min(strategy.budgets[1], strategy.damage(furthest))
        low = min(strategy.budgets[0], high / 10)
        return strategy.chain([low * (high / low) ** (i / (RUNGS - 1)) for i in range(RUNGS)]) if high else []

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
            samples=max(1, int(EFFECTIVE * self.study.recall("supernet_samples"))), changed=result.changed,
            skipped=result.skipped, net=net, **timed,
        )  # fmt: skip
