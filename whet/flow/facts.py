"""`Facts`: what schedulers are told of the network, its passes and its trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from whet.core.passes import Chain
from whet.core.space import Decision, Value
from whet.core.strategy import Strategy
from whet.decisions.planner import Counting
from whet.flow.evaluator import Evaluator
from whet.flow.layerwise import mixables
from whet.graph.operations import Operations
from whet.schedule.clock import Clock
from whet.schedule.finishing import Finishing
from whet.schedule.foretold import Foretold, shares_of
from whet.schedule.late import Late
from whet.schedule.obvious import Obvious, obvious
from whet.schedule.plan import Plan
from whet.schedule.pressing import Pressed
from whet.schedule.situation import Mixable, Situation
from whet.search import strategies

TRAINING_COST = 5.0
"""How many times as long as scoring a sample training on it takes, where that was not measured: 4.5 on ResNet-44."""


@dataclass
class Facts:
    """Asks the evaluator's tools."""

    evaluator: Evaluator

    @property
    def repairs(self) -> bool:
        return self.evaluator.builder.repairs

    @property
    def trains(self) -> bool:
        return self.evaluator.request.task.train is not None

    @property
    def epoch_samples(self) -> int:
        return self.evaluator.request.epoch_samples

    def samples_per_second(self) -> float:
        return self.evaluator.trainer.last_speed

    def original_samples_per_second(self) -> float:
        measured = self.evaluator.trainer.speed("full").samples(self._original_operations, 1.0)
        return measured if math.isfinite(measured) else self.evaluator.scores.original_speed / TRAINING_COST

    @cached_property
    def _original_operations(self) -> float:
        return self.evaluator.trainer.operations(self.evaluator.request.net)

    def reference(self) -> float:
        return self.evaluator.baseline.reference

    def ways(self) -> list[list[Decision]]:
        """Return for each finisher what anyone would try of it on the whole network, in the order to try it."""
        request = self.evaluator.request
        each = [p.obvious(request.net, request.target) for p in request.finishers if isinstance(p, Obvious)]
        return [ways for ways in each if ways]

    def obvious(self) -> list[Decision]:
        request = self.evaluator.request
        return obvious(request.passes, request.net, request.target)

    def pressed(self) -> list[Decision]:
        request = self.evaluator.request
        items = [p for p in request.finishers if isinstance(p, Pressed)]
        return [way for item in items for way in item.pressed(request.net, request.target)]

    def foretold(self) -> Foretold:
        request, names = self.evaluator.request, self.evaluator.builder.space.choices
        return Foretold.of(request.passes, request.net, self.evaluator.run, names)

    def mixables(self) -> list[Mixable]:
        finishers = enumerate(self.evaluator.request.finishers)
        return [found for place, item in finishers for found in mixables(item, place, self.evaluator)]

    def strategy(self, seed: int) -> Strategy:
        strategy = strategies.get(self.evaluator.request.strategy, self.evaluator.builder.space, seed=seed)
        if isinstance(strategy, Counting):
            strategy.operations = lambda decision: self._operations(decision)
        return strategy

    def late(self, done: Mapping[str, Value], saved: Mapping[str, float]) -> Late:
        space, target = self.evaluator.study.space, self.evaluator.request.target
        strategy = strategies.get(self.evaluator.request.strategy, space, seed=self.evaluator.request.seed)
        return Late(strategy, space, target.space().choices, done, saved)

    @cached_property
    def _operations(self) -> Operations:
        """How many operations a decision leaves; made when a strategy asks, as some passes take a network a value."""
        request, run = self.evaluator.request, self.evaluator.run
        known = shares_of(request.passes, request.net, run)
        return Operations(request.net, Chain(request.passes), self.evaluator.builder.space, run, known)


def situation(evaluator: Evaluator, plan: Plan) -> Situation:
    """Return what the schedulers of a search go by."""
    request, history, facts = evaluator.request, evaluator.history, Facts(evaluator)
    settles, workers = bool(request.finishers), evaluator.workers
    return Situation(
        study=evaluator.study, space=evaluator.builder.space, goal=request.goal, plan=plan, history=history,
        clock=Clock(evaluator.run.budget, evaluator.stopwatch, history, plan, settles),
        finishing=Finishing(history, facts.ways, settles), told=evaluator.told, facts=facts, seed=request.seed,
        say=evaluator.recorder.say, note=evaluator.recorder.note,
        workers=(lambda: 1) if workers is None else workers.size,
    )  # fmt: skip
