"""What one optimization was asked to do: in which unit, of how many samples, and what a resumed study agrees in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from quick import made

from whet.compress.width import Width
from whet.core.objectives import Objectives
from whet.flow.quantities import Limit
from whet.flow.request import Request, describe
from whet.testing.runs import AlignedTarget
from whet.train.recipe import Recipe

TARGET: Any = AlignedTarget(1)


def request(**changes: Any) -> Request:
    net, task = made()
    return replace(Request(net, task, TARGET, (Width(),), (), 60.0, Path("r")), **changes)


@pytest.mark.parametrize(
    ("limit", "max_drop", "unit"),
    [
        (None, 0.01, (1.0, "")),
        (Limit(0.02, ""), 0.02, (1.0, "")),
        (Limit(2.0, "%"), 0.02, (100.0, "%")),
        (Limit(2.0, "pt"), 2.0, (1.0, "pt")),
        (Limit(2.0, "%"), None, (1.0, "")),  # before the original is known
    ],
)
def test_drops_are_told_in_the_unit_of_the_limit(
    limit: Limit | None, max_drop: float | None, unit: tuple[float, str]
) -> None:
    assert request(limit=limit, max_drop=max_drop).drop_unit == unit


def test_an_epoch_is_as_many_samples_as_its_batches_have_where_they_say_how_many() -> None:
    assert request().epoch_samples == 128
    task = made()[1]
    assert request(task=replace(task, train=None)).epoch_samples == 0
    assert request(task=replace(task, train=map(tuple, task.training))).epoch_samples == 0


def test_a_budget_may_grow_and_nothing_else_may_change() -> None:
    before = request().config()
    assert request(budget_seconds=600.0, out=Path("elsewhere"), command="whet optimize").config() == before
    others: list[dict[str, Any]] = [
        {"max_drop": 0.02}, {"seed": 1}, {"trials": 3}, {"epochs": 2.0}, {"elastic": True}, {"threads": 1},
        {"batch": 8}, {"strategy": "random"}, {"recipe": Recipe(learning_rate=0.5)},
        {"passes": (Width(tie="network"),)}, {"objectives": Objectives(("size",))}, {"identity": {"weights": "other"}},
    ]  # fmt: skip
    for change in others:
        assert request(**change).config() != before, change


def test_a_limit_is_agreed_in_as_it_was_written() -> None:
    """What it comes to is known only later, so it is no part of what was asked."""
    limit = Limit(1.0, "%")
    assert request(limit=limit, max_drop=0.009).config() == request(limit=limit).config()
    assert request(limit=limit).config()["max_drop"] == "1%"


def test_the_goal_is_that_of_the_request() -> None:
    goal = request(max_drop=0.03, trials=4, objectives=Objectives(("size",))).goal
    assert (goal.max_drop, goal.trials, goal.budget_seconds, goal.objectives.wanted) == (0.03, 4, 60.0, ("size",))


def test_passes_are_described_by_name_and_options() -> None:
    assert describe(Width(tie="network")) | {"name": "Width", "tie": "network"} == describe(Width(tie="network"))
    assert describe(object()) == {"name": "object"}
