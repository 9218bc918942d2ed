"""How the budget is cut up."""

from __future__ import annotations

import math

import pytest

from whet.schedule.plan import Plan, limit


@pytest.mark.parametrize("trials", [1, 4, 32])
def test_all_trainings_of_a_plan_of_epochs_together_are_those_epochs(trials: int) -> None:
    plan, total = Plan.of_epochs(5.0, 12_000, trials), 60_000
    assert plan.short_samples is not None and plan.full_samples is not None
    assert trials * plan.short_samples + plan.usual_rounds * plan.full_samples == pytest.approx(total, abs=trials + 3)
    assert plan.elastic_samples == 24_000, "together or one by one, candidates are trained on as much"


def test_the_shortest_plan_of_epochs_still_trains() -> None:
    plan = Plan.of_epochs(0.01, 10, 8)
    assert plan.short_samples == plan.elastic_samples == plan.full_samples == 1


def test_rounds_follow_the_budget_between_two_and_most() -> None:
    plan = Plan()
    assert [plan.rounds(plan.round_seconds * n) for n in (0.1, 3, 4, 50)] == [2, 3, 4, plan.most_rounds]
    assert plan.rounds(10.0, epochs=3.9 * plan.round_epochs) == 3
    assert plan.rounds(math.inf) == plan.usual_rounds


def test_samples_limit_a_training_where_the_budget_is_in_epochs() -> None:
    assert limit(5.0, 0.0) == {"samples": 1} and limit(5.0, None) == {"seconds": 5.0}
