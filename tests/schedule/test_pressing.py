"""Ways of finishing that are trained: each is looked at, and what promises most within the limit gets the time."""

from __future__ import annotations

from typing import Any

import pytest
from situations import drive, situation

from whet.core.objectives import Objectives
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.actions import Action
from whet.schedule.goal import Goal
from whet.schedule.pressing import KEPT, LONG, Look, Press, Pressing

MILD, MIDDLE, SMALL = ways = [Decision({"network:grid": value}) for value in ("mild", "middle", "small")]
GAINS = dict(zip(ways, (9.0, 11.0, 16.0), strict=True))


def goal(**more: Any) -> Goal:
    return Goal(0.01, Objectives(("size",)), 200.0, **more)


def verified(way: Decision, drop: float, samples: int = 60_000) -> Trial:
    return Trial(0, "full", way, quality=0.9 - drop, drop=drop, speedup=1.0, gain=GAINS[way], samples=samples)


def pressed(drops: dict[Decision, float], ends: dict[Decision, float], space: Space | None = None) -> list[Press]:
    """Return the trainings in earnest of a search whose looks and trainings end with such drops."""
    found: list[Press] = []
    given = situation([], space or Space(), goal(), dear=ways, file_seconds=2.0)

    def do(action: Action) -> Any:
        assert isinstance(action, Press)
        given.clock.budget.spent_before += action.seconds
        if not action.verified:
            return Look(drops[action.way], 5000, GAINS[action.way])
        found.append(action)
        return verified(action.way, ends[action.way])

    drive(Pressing(given).run(), do)
    return found


def test_the_smallest_that_training_will_bring_within_the_limit_comes_first() -> None:
    first = pressed({MILD: 0.005, MIDDLE: 0.012, SMALL: 0.2}, {MIDDLE: 0.008, MILD: 0.004})[0]
    assert first.way == MIDDLE and 50 < first.seconds < 140
    assert pressed({MILD: 0.005, MIDDLE: 0.012, SMALL: 0.014}, dict.fromkeys(ways, 0.009))[0].way == SMALL


def test_what_missed_the_limit_goes_on_or_gives_way_to_a_milder_one() -> None:
    near = pressed({MILD: 0.3, MIDDLE: 0.012, SMALL: 0.2}, {MIDDLE: 0.0102})
    assert [p.way for p in near[:2]] == [MIDDLE, MIDDLE] and near[1].seconds > near[0].seconds / 10
    far = pressed({MILD: 0.006, MIDDLE: 0.013, SMALL: 0.2}, {MIDDLE: 0.05, MILD: 0.004})
    assert [p.way for p in far[:2]] == [MIDDLE, MILD]


def test_time_is_kept_for_structures_where_there_are_any() -> None:
    drops, ends = {MILD: 0.3, MIDDLE: 0.012, SMALL: 0.2}, {MIDDLE: 0.008}
    alone, beside = (pressed(drops, ends, s) for s in (None, Space([Choice("a:width", (0.5, 1.0), 1.0)])))
    assert beside[0].seconds == pytest.approx((1 - KEPT) * alone[0].seconds, rel=0.15)


def test_a_short_search_is_for_structures() -> None:
    wanted, seen = Goal(0.01, Objectives(("size",)), LONG), list[Action]()
    space = Space([Choice("a:width", (0.5, 1.0), 1.0)])
    drive(Pressing(situation([], space, wanted, dear=ways, file_seconds=2.0)).run(), seen.append)
    assert not [a for a in seen if isinstance(a, Press)]


def test_nothing_is_trained_that_is_not_worth_it() -> None:
    assert not pressed(dict.fromkeys(ways, 0.5), {})


@pytest.mark.parametrize(
    ("facts", "objectives", "seconds"),
    [
        ({"trains": False}, ("size",), 200.0),
        ({}, ("speed", "size"), 200.0),
        ({}, ("size",), float("inf")),
        ({}, ("size",), 9.0),
    ],
)
def test_it_takes_data_time_and_a_wish_for_bytes_alone(
    facts: dict[str, Any], objectives: tuple[str, ...], seconds: float
) -> None:
    wanted = Goal(0.01, Objectives(objectives), seconds)
    seen: list[Action] = []
    drive(Pressing(situation([], Space(), wanted, dear=ways, file_seconds=2.0, **facts)).run(), seen.append)
    assert not [a for a in seen if isinstance(a, Press)]


def test_a_study_that_pressed_before_does_not_again() -> None:
    seen: list[Action] = []
    drive(Pressing(situation([verified(MIDDLE, 0.02)], Space(), goal(), dear=ways)).run(), seen.append)
    assert not seen


def test_a_failure_is_a_failed_trial_of_its_way() -> None:
    assert Press(MILD, 1.0).attempt == ("full", MILD, None)
