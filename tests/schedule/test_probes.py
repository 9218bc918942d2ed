"""In which order choices are probed, and when there is no time for that."""

from __future__ import annotations

from typing import Any

from situations import situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.goal import Goal
from whet.schedule.mending import Mending
from whet.schedule.probes import pressed, probing_order

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0)])


def is_pressed(trials: list[Trial], seconds: float = 180.0, file_seconds: float = 1.0, space: Space = SPACE) -> bool:
    facts: dict[str, Any] = {"repairs": True, "epoch_samples": 4096}
    given = situation(trials, space, Goal(0.01, budget_seconds=seconds), {}, file_seconds, **facts)
    return pressed(given, Mending(given))


def test_the_first_few_probes_are_of_every_kind_and_from_all_over_the_network() -> None:
    blocks = [Choice(f"block{i}:keep", (True, False), True) for i in range(8)]
    groups = [Choice(f"group{i}:width", (0.5, 1.0), 1.0) for i in range(3)]
    order = [c.name for c in probing_order(Space([*blocks, *groups]))]
    assert order[:5] == ["block0:keep", "group0:width", "block4:keep", "group2:width", "block2:keep"]
    assert sorted(order) == sorted(c.name for c in (*blocks, *groups))


def test_probes_are_left_out_where_they_leave_no_time_to_train_what_there_is() -> None:
    candidate = [Trial(0, "short", Decision({"b:width": 0.5}), quality=0.89, drop=0.01, speedup=1.5)]
    assert is_pressed(candidate, seconds=20.0, file_seconds=3.0)
    assert not is_pressed(candidate)
    assert not is_pressed([], seconds=20.0, file_seconds=3.0)  # proposals need something to go by
    one = Space([SPACE.choices["b:width"]])
    assert is_pressed(candidate, space=one)  # the only choice was tried already
