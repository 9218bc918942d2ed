"""What is said of a budget that is too short, is not used up, or grows."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from test_finals import explored, finals, trial

from whet.core.run import Budget


def told(stage: Any) -> list[str]:
    stage.explorer.finals_seconds = lambda: stage.job.budget_seconds
    stage.bench.attempt = lambda *given: nullcontext()
    stage.bench.note = (notes := []).append
    stage.run()
    return notes


@pytest.mark.parametrize(("budget", "spent"), [(12.0, 9.0), (60.0, 48.0), (20.0, 40.0)])
def test_where_nothing_is_trained_it_is_said_how_long_a_budget_that_takes(budget: float, spent: float) -> None:
    stage, _ = finals(explored(), budget)
    stage.run_.budget = Budget(budget, spent_before=spent)
    [note] = told(stage)
    assert note.startswith(f"the budget of {budget:.0f} s is too short to train anything in earnest")
    assert float(note.split()[-2]) > budget


def test_what_is_left_over_is_said_and_why() -> None:
    stage, _ = finals([*explored(), trial(4, "full", 1.9, 0.004, 150_000, 1)], 1200.0)
    stage.explorer.one_more = lambda until: False  # type: ignore[method-assign]
    stage.full = lambda candidate, share: stage.study.trials.append(  # type: ignore[method-assign]
        trial(len(stage.study.trials), "full", candidate.speedup, 0.02, 2 * candidate.samples, candidate.number)
    )
    [note] = told(stage)
    assert note.startswith("the search ended early") and "no candidate promises" in note


@pytest.mark.parametrize(("before", "trained"), [(None, 0), (1200.0, 0), (600.0, 1)])
def test_a_budget_that_grew_is_trained_with(before: float | None, trained: int) -> None:
    rounds = [trial(4 + i, "full", 2.0, 0.02, 150_000, i % 3) for i in range(5)]
    stage, _ = finals([*explored(), *rounds], 1200.0)
    memo = {"delivered_budget": before, "delivery_seconds": 9.0}
    stage.study.recall = memo.get
    fulls: list[Any] = []

    def full(candidate: Any, share: float) -> None:
        fulls.append(candidate)
        stage.study.trials.append(trial(9, "full", 2.0, 0.02, 900_000, candidate.number))

    stage.full, stage.grow = full, lambda share: False  # type: ignore[method-assign]
    stage.explore_more = lambda share: False  # type: ignore[method-assign]
    stage._goes_on = lambda: False  # type: ignore[method-assign]
    told(stage)
    assert len(fulls) == trained


def test_the_delivery_of_a_study_that_goes_on_is_planned_by_what_it_took() -> None:
    stage, _ = finals(explored(), 60.0)
    before = stage.reserve_seconds
    stage.study = SimpleNamespace(trials=[], recall=lambda key: 4.0)  # type: ignore[assignment]
    assert stage.reserve_seconds == 5.0 < before
