"""How long candidates are trained that are trained one by one."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from resnet44 import SPACE
from situations import asked, situation

from whet.core.space import Decision
from whet.schedule.actions import Foresight
from whet.schedule.alone import Alone
from whet.schedule.goal import Goal
from whet.schedule.plan import Plan


def alone(seconds: float = 1000.0, slow: bool = False, trials: int | None = None, **more: Any) -> Alone:
    goal = Goal(0.01, budget_seconds=seconds, trials=trials)
    return Alone(situation([], SPACE, goal, **more), SimpleNamespace(slow=slow))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (alone(1000.0), 12.0),
        (alone(60.0), 2.0),  # no shorter
        (alone(math.inf), 0.0),  # samples limit it
        (alone(slow=True), None),
        (alone(trains=False), None),
    ],
)
def test_a_short_training_takes_its_share_of_the_budget(pace: Alone, seconds: float | None) -> None:
    assert pace.short_seconds() == seconds


def test_where_training_is_slow_candidates_are_verified_in_place_of_it() -> None:
    cut, foresight = Decision({"block0:keep": False}), Foresight(0.3, 0.01, 2.0, 1.0)
    assert alone(slow=True).look(cut, foresight).verified and not alone(slow=True).look(cut, None).verified
    assert not alone().look(cut, foresight).verified
    assert alone(slow=True).until_share() == alone().until_share() == Plan().explore_until


def test_a_candidate_is_looked_at_for_the_samples_of_the_plan() -> None:
    look = alone(math.inf, plan=Plan(short_samples=77)).look(Decision({"block0:keep": False}), None)
    assert (look.seconds, look.samples, look.extracted, look.counted) == (0.0, 77, None, True)


def test_as_many_are_tried_as_were_asked_for_and_nothing_comes_before_or_after() -> None:
    assert alone(trials=5).most() == 5 and alone().most() == math.inf
    assert not asked(alone().before(None)) and not asked(alone().after())  # type: ignore[arg-type]
