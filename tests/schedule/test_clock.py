"""What is said of a budget that is too short, is not used up, or grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from resnet44 import explored, rounds, trial
from situations import drive

from whet.core.run import Budget
from whet.schedule.actions import Actions, Train
from whet.schedule.rounds import Rounds


def told(stage: Rounds, do: Callable[[Any], Any] = lambda action: None) -> list[str]:
    drive(stage.run(), do)
    return stage.situation.study.notes  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(("budget", "spent"), [(12.0, 9.0), (60.0, 48.0), (20.0, 40.0)])
def test_where_nothing_is_trained_it_is_said_how_long_a_budget_that_takes(budget: float, spent: float) -> None:
    stage, _ = rounds(explored(), budget)
    stage.situation.clock.budget = Budget(budget, spent_before=spent)
    [note] = told(stage)
    assert note.startswith(f"the budget of {budget:.0f} s is too short to train anything in earnest")
    assert float(note.split()[-2]) > budget


def test_what_is_left_over_is_said_and_why() -> None:
    stage, _ = rounds([*explored(), trial(4, "full", 1.9, 0.004, 150_000, 1)], 1200.0)
    stage.explorer.one_more = nothing  # type: ignore[assignment,method-assign]
    trials = stage.situation.study.trials

    def do(action: Any) -> Any:
        if isinstance(action, Train):
            c = action.candidate
            trials.append(trial(len(trials), "full", c.speedup, 0.02, 2 * c.samples, c.number))

    [note] = told(stage, do)
    assert note.startswith("the search ended early") and "no candidate promises" in note


@pytest.mark.parametrize(("before", "trained"), [(None, 0), (1200.0, 0), (600.0, 1)])
def test_a_budget_that_grew_is_trained_with(before: float | None, trained: int) -> None:
    full = [trial(4 + i, "full", 2.0, 0.02, 150_000, i % 3) for i in range(5)]
    memos = {"delivered_budget": before, "delivery_seconds": 9.0}
    stage, _ = rounds([*explored(), *full], 1200.0, memos=memos)
    stage.growth.grow = stage.growth.explore_more = nothing  # type: ignore[assignment,method-assign]
    stage.goes_on = lambda: False  # type: ignore[method-assign]
    fulls: list[Any] = []

    def do(action: Any) -> None:
        if isinstance(action, Train):
            fulls.append(action)
            trials = stage.situation.study.trials
            trials.append(trial(len(trials), "full", 2.0, 0.02, 900_000, action.candidate.number))

    told(stage, do)
    assert len(fulls) == trained


def nothing(*given: Any) -> Actions[bool]:
    yield from ()
    return False


def test_the_delivery_of_a_study_that_goes_on_is_planned_by_what_it_took() -> None:
    before = rounds(explored(), 60.0)[0].situation.clock.reserve_seconds()
    stage, _ = rounds(explored(), 60.0, memos={"delivery_seconds": 4.0})
    assert stage.situation.clock.reserve_seconds() == 5.0 < before
