"""What the probes make believe before anything is trained."""

from __future__ import annotations

import math

import pytest
from situations import situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.decisions.planner import Planner
from whet.schedule.beliefs import Beliefs
from whet.schedule.goal import Goal
from whet.schedule.mending import Mending

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0, lasting=3.0)])
OTHERS = [Choice("c:keep", (True, False), True), Choice("d:width", (0.25, 0.5, 0.75, 1.0), 1.0, lasting=3.0)]
LARGER = Space([*SPACE, *OTHERS])
PROBES = [
    Trial(0, "probe", Decision({"a:keep": False}), quality=0.8, drop=0.06, speedup=1.2),
    Trial(1, "probe", Decision({"b:width": 0.5}), quality=0.8, drop=0.03, speedup=1.1),
]


def beliefs(space: Space, probes: list[Trial]) -> tuple[dict[str, float], dict[str, float]]:
    given = situation(probes, space, Goal(0.01, budget_seconds=60.0))
    found = Beliefs(given, Mending(given))
    strategy = found.new_strategy(0)
    assert isinstance(strategy, Planner)
    return found.effects(strategy)


def test_a_cut_in_width_is_believed_to_last_longer_than_a_dropped_block() -> None:
    latency, damage = beliefs(SPACE, PROBES)
    assert latency == pytest.approx({"a:keep": -math.log(1.2), "b:width": -2 * math.log(1.1)})
    assert damage == pytest.approx({"a:keep": 0.06, "b:width": 3 * 0.06})


def test_what_was_not_probed_is_believed_to_be_like_its_kind() -> None:
    latency, damage = beliefs(LARGER, PROBES)
    assert damage["c:keep"] == damage["a:keep"] and damage["d:width"] == damage["b:width"]
    assert latency["c:keep"] == latency["a:keep"] and latency["d:width"] == latency["b:width"]
    assert list(beliefs(LARGER, PROBES[:1])[1]) == ["a:keep", "c:keep"]
