"""What schedulers are told of the network, its passes and its trainings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from quick import made
from test_builder import builder

from whet.core.space import Decision
from whet.decisions.planner import Counting
from whet.flow.facts import TRAINING_COST, Facts, situation
from whet.graph.operations import total_operations
from whet.schedule.plan import Plan
from whet.train.speed import TrainingSpeed


def evaluator(pairs: list[tuple[float, float]] | None = None, **request: Any) -> Any:
    by = builder()
    by.request.__dict__.update(request)
    trainer = SimpleNamespace(
        last_speed=7.0, speed=lambda what: TrainingSpeed(pairs or []), operations=lambda net: 100.0
    )
    recorder = SimpleNamespace(say=print, note=print)
    return SimpleNamespace(
        request=by.request, builder=by, trainer=trainer, scores=SimpleNamespace(original_speed=500.0), run=by.run,
        baseline=SimpleNamespace(reference=0.9), study=SimpleNamespace(), stopwatch=by.clock, recorder=recorder,
        history=SimpleNamespace(goal=by.request.goal), told=SimpleNamespace(), workers=None,
    )  # fmt: skip


def test_the_original_s_training_is_told_from_trainings_and_before_these_from_scoring() -> None:
    assert Facts(evaluator()).original_samples_per_second() == 500.0 / TRAINING_COST
    assert Facts(evaluator([(100.0, 0.01)])).original_samples_per_second() == pytest.approx(100.0)


def test_what_is_told_is_that_of_the_evaluator() -> None:
    facts = Facts(evaluator())
    assert (facts.repairs, facts.trains, facts.epoch_samples) == (True, True, 128)
    assert (facts.samples_per_second(), facts.reference()) == (7.0, 0.9)
    assert [d for d in facts.obvious() if len(d)] == facts.obvious() != []
    assert set(facts.foretold().shapes()[1]) <= set(facts.evaluator.builder.space.choices)


def test_a_finisher_that_nobody_would_try_whole_has_no_ways() -> None:
    ways = [Decision({"network:int8": "all"})]
    some, none = (SimpleNamespace(obvious=lambda net, target, found=found: found) for found in (ways, []))
    assert Facts(evaluator(finishers=(none, some, object()))).ways() == [ways]


def test_strategies_that_count_operations_are_told_how() -> None:
    facts = Facts(evaluator(strategy="improvement"))
    strategy = facts.strategy(3)
    assert isinstance(strategy, Counting) and strategy.operations is not None
    assert strategy.operations(Decision()) == pytest.approx(total_operations(made()[0]))
    name = next(iter(facts.evaluator.builder.space.choices))
    assert strategy.operations(Decision({name: 0.5})) < strategy.operations(Decision())


def test_a_situation_is_of_the_request() -> None:
    given = evaluator(max_drop=0.02, seed=5)
    given.request.__dict__["budget_seconds"] = math.inf
    given.history.goal = given.request.goal
    found = situation(given, Plan())
    assert (found.goal.max_drop, found.seed, found.goal.timed) == (0.02, 5, False)
    assert found.space is given.builder.space and not found.finishing.any
    assert situation(evaluator(finishers=(object(),)), Plan()).finishing.any
