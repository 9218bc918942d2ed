"""Repaired candidates are verified untrained where they are likely to be within the limit."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from resnet44 import SPACE, rounds, told, trial
from situations import asked, situation

from whet.core.run import Budget
from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule import untrained
from whet.schedule.actions import Verify
from whet.schedule.goal import Goal
from whet.schedule.untrained import Untrained, chance


def test_one_that_is_told_to_be_within_the_limit_is_verified_untrained_if_that_is_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, _ = rounds([trial(0, "short", 1.2, 0.004, 0)])
    for drop, expected in ((0.006, 1), (0.0101, 1), (0.02, 0), (0.05, 0)):
        monkeypatch.setattr(untrained, "told", lambda s, drop=drop: [told(1, 2.0, drop)])
        chosen = stage.untrained.fastest()
        assert chosen is not None and chosen.number == expected, drop


def test_what_an_error_tells_is_less_certain_than_what_was_scored() -> None:
    scored, hoped = trial(0, "short", 2.0, 0.008, 0), told(1, 2.0, 0.008)
    assert chance(scored, 0.01) > 0.9 > chance(hoped, 0.01) > 0.5
    assert chance(trial(0, "short", 2.0, 0.012, 0), 0.01) < 0.1 < chance(told(1, 2.0, 0.012), 0.01)


def of(trials: list[Trial], goal: Goal, slow: bool = False, **more: Any) -> Untrained:
    explorer: Any = SimpleNamespace(mending=SimpleNamespace(slow=slow))
    return Untrained(situation(trials, SPACE, goal, **more), explorer)


@pytest.mark.parametrize(("drop", "asked_for"), [(0.009, [1]), (0.02, [1, 0])])
def test_the_fastest_come_first_until_one_is_within_the_limit(drop: float, asked_for: list[int]) -> None:
    trials = [trial(0, "short", 1.5, 0.001, 0), trial(1, "short", 2.0, 0.004, 0), trial(2, "short", 3.0, 0.05, 0)]
    actions = of(trials, Goal(0.01, budget_seconds=500.0)).verify()
    seen = [next(actions)]
    for number in range(3, 3 + len(asked_for)):
        trials.append(trial(number, "full", 2.0, drop, 0, seen[-1].candidate.number))  # type: ignore[attr-defined]
        seen += [action] if (action := advanced(actions, trials[-1])) else []
    assert seen == [Verify(trials[n], Decision(), told=False) for n in asked_for]


def advanced(actions: Any, outcome: Trial) -> Any:
    try:
        return actions.send(outcome)
    except StopIteration:
        return None


def test_nothing_is_verified_when_its_file_would_come_too_late() -> None:
    late = of([trial(0, "short", 1.5, 0.001, 0)], Goal(0.01, budget_seconds=5.0), file_seconds=3.0)
    assert next(late.verify(), None) is None


def test_without_a_limit_a_few_are_verified_where_nothing_is_trained() -> None:
    good, fast = trial(0, "short", 1.5, 0.001, 0), trial(1, "short", 1.6, 0.3, 0)
    assert of([good, fast], Goal()).fastest() is None, "what is trained need not be verified before"
    assert of([good, fast], Goal(), slow=True).fastest() == of([good, fast], Goal(), trains=False).fastest() == good
    verified = [replace(trial(2 + i, "full", 1.5, 0.001, 0, 9 + i)) for i in range(3)]
    assert of([good, fast, *verified], Goal(), slow=True).fastest() is None


@pytest.mark.parametrize("goal", [Goal(0.01, budget_seconds=math.inf), Goal(0.01, budget_seconds=500.0, trials=3)])
def test_no_more_are_looked_for_where_trials_or_epochs_limit_the_search(goal: Goal) -> None:
    assert not asked(of([], goal).search_on())


@pytest.mark.parametrize(
    ("verified_after", "enough", "looks"), [(90.0, True, 3), (60.0, True, 1), (None, True, 1), (60.0, False, 3)]
)
def test_what_is_found_untrained_is_enough_once_nothing_better_came_for_a_while(
    verified_after: float | None, enough: bool, looks: int
) -> None:
    """After 100 of 200 seconds; a candidate takes none, and there are three."""
    best = [] if verified_after is None else [replace(trial(0, "full", 1.5, 0.004, 0), spent_seconds=verified_after)]
    worse = replace(trial(1, "full", 1.2, 0.001, 0), spent_seconds=99.0)
    search = of([*best, worse] if best else [], Goal(0.01, budget_seconds=200.0))
    search.situation.clock.budget = Budget(200.0, spent_before=100.0)
    left = iter([1, 1, 1, 0])
    seen = []

    def one_more(until: float) -> Any:
        yield from ()
        count = next(left)
        seen.extend([until] * count)
        return count

    search.explorer.one_more = one_more  # type: ignore[method-assign, assignment]
    assert not asked(search.search_on(lambda: enough))
    assert len(seen) == looks
