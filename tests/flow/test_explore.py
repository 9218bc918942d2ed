"""What the probes make believe before anything is trained."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.objectives import Objectives
from whet.core.run import Budget
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.flow.explore import Explore
from whet.flow.probing import probing_order
from whet.flow.stage import Plan

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0, lasting=3.0)])
OTHERS = [Choice("c:keep", (True, False), True), Choice("d:width", (0.25, 0.5, 0.75, 1.0), 1.0, lasting=3.0)]
LARGER = Space([*SPACE, *OTHERS])
PROBES = [
    Trial(0, "probe", Decision({"a:keep": False}), quality=0.8, drop=0.06, speedup=1.2),
    Trial(1, "probe", Decision({"b:width": 0.5}), quality=0.8, drop=0.03, speedup=1.1),
]


def beliefs(space: Space, probes: list[Trial]) -> tuple[dict[str, float], dict[str, float]]:
    job = SimpleNamespace(
        space=lambda: space, max_drop=0.01, strategy="sensitivity", seed=0, finishers=(), budget_seconds=60.0,
        objectives=Objectives(),
    )
    run = SimpleNamespace(budget=Budget(60.0), progress=lambda event: None)
    study = SimpleNamespace(trials=probes, recall=lambda key: None)
    bench: Any = SimpleNamespace(job=job, study=study, run=run, repairs=False)
    explore = Explore(bench, Plan())
    return explore._beliefs(explore.strategy)


def test_a_cut_in_width_is_believed_to_last_longer_than_a_dropped_block() -> None:
    latency, damage = beliefs(SPACE, PROBES)
    assert latency == pytest.approx({"a:keep": -math.log(1.2), "b:width": -2 * math.log(1.1)})
    assert damage == pytest.approx({"a:keep": 0.06, "b:width": 3 * 0.06})


def test_what_was_not_probed_is_believed_to_be_like_its_kind() -> None:
    latency, damage = beliefs(LARGER, PROBES)
    assert damage["c:keep"] == damage["a:keep"] and damage["d:width"] == damage["b:width"]
    assert latency["c:keep"] == latency["a:keep"] and latency["d:width"] == latency["b:width"]
    assert list(beliefs(LARGER, PROBES[:1])[1]) == ["a:keep", "c:keep"]


def test_the_first_few_probes_are_of_every_kind_and_from_all_over_the_network() -> None:
    blocks = [Choice(f"block{i}:keep", (True, False), True) for i in range(8)]
    groups = [Choice(f"group{i}:width", (0.5, 1.0), 1.0) for i in range(3)]
    order = [c.name for c in probing_order(Space([*blocks, *groups]))]
    assert order[:5] == ["block0:keep", "group0:width", "block4:keep", "group2:width", "block2:keep"]
    assert sorted(order) == sorted(c.name for c in (*blocks, *groups))
