"""Doings that train are done alone, or in turns with others while workers train."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from quick import made

from whet.core.errors import WorkersError
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.failures import Attempt
from whet.flow.turns import Doing, Done, Fit, alone, fit, several
from whet.flow.work import Work
from whet.schedule.actions import Confirm, Several
from whet.train.fit_report import FitReport
from whet.train.recipe import Recipe


def action(number: int) -> Confirm:
    return Confirm(Trial(number, "short", Decision(), 0.9, 0.0, 1.0))


class Stand:
    """An evaluator whose doings train once, and workers that write down what happens."""

    def __init__(self, workers: bool, broken: int = -1, wanting: bool = False) -> None:
        self.log: list[str] = []
        self.failed: list[str] = []
        self.broken, self.wanting = broken, wanting
        self.workers: Any = self if workers else None
        self.stopwatch: Any = lambda what: nullcontext()
        self.recorder: Any = SimpleNamespace(attempt=lambda *a: Attempt(lambda error: self.failed.append(str(error))))
        self.trainer: Any = SimpleNamespace(work=self.work, learn=self.learn, harmed=lambda kind, report: None)

    def work(self, net: Any, recipe: Recipe, what: Any, goes_on: bool = False, **limit: Any) -> Work | FitReport:
        return FitReport(failure="no time") if self.wanting else Work(net, recipe, limit, 0.0, what, what, 1.0)

    def learn(self, what: str, operations: float, report: FitReport) -> None:
        self.log.append(f"learnt of {report.samples}")

    def doing(self, each: Confirm) -> Doing[str]:
        self.log.append(f"begun {each.candidate.number}")
        if each.candidate.number == self.broken:
            raise ValueError("cannot be built")
        net = made()[0].copy()
        asked = Fit(net, Recipe(), "short", False, {"samples": each.candidate.number}, scored=True, most_drop=0.5)
        done = yield asked
        self.log.append(f"ended {each.candidate.number}")
        return f"{done.report.samples} {float(next(net.module.parameters()).sum())}"

    def do(self, each: Confirm) -> str:
        return alone(self.doing(each), lambda asked: fit(self, asked))  # type: ignore[arg-type]

    def train(self, net: Any, recipe: Recipe, what: str, goes_on: bool, samples: int) -> FitReport:
        self.log.append(f"trained {samples}")
        return FitReport(samples=samples)

    def give(self, work: Work) -> Callable[[], Done]:
        assert work.scored and work.most_drop == 0.5
        self.log.append(f"given {work.limit['samples']}")
        state = {name: torch.zeros_like(value) for name, value in work.net.module.state_dict().items()}
        return lambda: Done(FitReport(samples=work.limit["samples"]), (0.9, 0.9), state)


def test_without_workers_one_comes_after_the_other() -> None:
    stand = Stand(workers=False)
    outcomes = several(stand, Several((action(3), action(4))))  # type: ignore[arg-type]
    assert [outcome.split()[0] for outcome in outcomes] == ["3", "4"]
    assert stand.log == ["begun 3", "trained 3", "ended 3", "begun 4", "trained 4", "ended 4"]


def test_with_workers_all_are_begun_and_then_end_in_order_with_the_weights_that_come_back() -> None:
    stand = Stand(workers=True)
    assert several(stand, Several((action(3), action(4)))) == ["3 0.0", "4 0.0"]  # type: ignore[arg-type]
    assert stand.log[:4] == ["begun 3", "given 3", "begun 4", "given 4"]
    assert stand.log[4:] == ["learnt of 3", "ended 3", "learnt of 4", "ended 4"]


def test_one_that_fails_is_a_failed_trial_and_the_others_go_on() -> None:
    stand = Stand(workers=True, broken=3)
    assert several(stand, Several((action(3), action(4)))) == [None, "4 0.0"]  # type: ignore[arg-type]
    assert stand.failed == ["cannot be built"]


def test_what_is_not_worth_beginning_is_given_to_nobody() -> None:
    stand = Stand(workers=True, wanting=True)
    [outcome] = several(stand, Several((action(3),)))  # type: ignore[arg-type]
    assert outcome.split()[0] == "0" and stand.log == ["begun 3", "ended 3"]


def test_a_lost_cluster_ends_all_of_them() -> None:
    def lost(work: Work) -> Callable[[], Done]:
        raise WorkersError("the workers are lost")

    stand = Stand(workers=True)
    stand.give = lost  # type: ignore[method-assign]
    with pytest.raises(WorkersError):
        several(stand, Several((action(3), action(4))))  # type: ignore[arg-type]
    assert not stand.failed
