"""`ElasticExplore`: one training for all candidates; each is then cut from it and scored, not trained."""

from __future__ import annotations

import random
from dataclasses import replace
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
from whet.train.state import load_state, save_state

POOL = 200
UNTRAINED = 8.0
"""How many times the drop after training that of an untrained cut is, about: the probes' forecasts are of those."""
EFFECTIVE = 0.1
"""The share of the supernet's samples that counts as a sub-network's own when its gain from more is forecast."""


def frozen(passes: tuple[Pass, ...], net: Net, run: Run) -> tuple[Pass, ...]:
    """Return passes that choose the same atoms whatever the weights are, so that sub-networks nest."""

    def freeze(item: Pass) -> Pass:
        if isinstance(item, Width) and isinstance(item.importance, str):
            return replace(item, importance=Frozen.of(net, item.importance, run, item.samples))
        return item

    return tuple(map(freeze, passes))


class ElasticExplore(Explore):
    """Explores sub-networks of one supernet that was trained on those the forecasts find worth trying.

    Every fourth step trains the whole network, the others one of `POOL` decisions that the strategy proposes after
    the probes. A candidate is extracted, its batch norms re-estimated, and scored: about a second, however long the
    supernet was trained.
    """

    def explore(self) -> None:
        self.supernet = self.trained()
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
        """Return which sub-network each step trains: a quarter of the steps the whole, the rest from the pool."""
        seed = self.job.seed
        strategy = self.new_strategy(seed + 1, UNTRAINED)
        self.inform(strategy)
        pool = strategy.ask(POOL)

        def at(step: int) -> Decision:
            if step % 4 == 0 or not pool:
                return Decision()
            return pool[random.Random(seed * 1_000_003 + step).randrange(len(pool))]

        return at

    def short(self, decision: Decision, duration: float) -> Trial:
        """Cut a candidate from the supernet, time it, score it in torch on part of the validation data."""
        result = self.bench.structure(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net = self.bench.recalibrated(self.supernet.extract(decision))
        return self.bench.record(
            "short", decision, self.bench.quick_quality(net), reference=self.bench.quick_reference(),
            samples=max(1, int(EFFECTIVE * self.study.recall("supernet_samples"))), changed=result.changed,
            skipped=result.skipped, net=net, **timed,
        )  # fmt: skip
