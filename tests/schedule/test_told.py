"""The drop that the error of a candidate's outputs tells before it is scored."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from situations import situation

import whet
from whet.core.space import Decision, Space
from whet.schedule.goal import Goal
from whet.schedule.told import DROP_OF_ERROR, Told, quality_at


def told(pairs: list[tuple[float, float]], repairs: bool = True) -> Told:
    memos: dict[str, Any] = {"untrained": {Decision({"a": i}).to_json(): pair for i, pair in enumerate(pairs)}}
    return situation([], Space(), Goal(0.01), memos, repairs=repairs).told


def test_the_rate_is_the_median_of_those_whose_drop_is_nearest_to_the_limit() -> None:
    """Of (error, drop); in the logarithm 0.0001 and 0.3 are further from the limit than the other three."""
    seen = [(0.1, 0.0001), (0.02, 0.01), (0.01, 0.02), (0.05, 0.005), (0.2, 0.3)]
    assert told(seen).by_errors(0.01) == pytest.approx(0.5)  # of 0.5, 2 and 0.1
    assert told(seen).drop(0.04, 0.01) == pytest.approx(0.02)


def test_where_nothing_was_scored_or_lost_a_usual_rate_stands() -> None:
    assert told([]).by_errors(0.01) == told([(0.02, -0.001), (0.0, 0.4)]).by_errors(0.01) == DROP_OF_ERROR
    assert told([], repairs=False).by_errors(0.01) is None and told([], repairs=False).rate(0.01) == DROP_OF_ERROR


def test_what_is_scored_is_known_when_the_study_is_resumed() -> None:
    memos: dict[str, Any] = {}
    first = situation([], Space(), Goal(0.01), memos, repairs=True).told
    first.remember(Decision({"a": 1}), 0.1234567891, 0.02)
    again = situation([], Space(), Goal(0.01), memos, repairs=True).told
    assert again.untrained == first.untrained == {Decision({"a": 1}): (0.123457, 0.02)}


@pytest.mark.parametrize("drop", ["absolute", "relative"])
@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_quality_told_is_as_much_worse_as_was_said(
    drop: Literal["absolute", "relative"], direction: Literal["max", "min"]
) -> None:
    task = whet.Task("t", None, [1], drop=drop, direction=direction)
    assert task.loss_of_quality(quality_at(0.03, 0.8, task), 0.8) == pytest.approx(0.03)
