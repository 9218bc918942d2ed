"""What all schedulers go by."""

from __future__ import annotations

from dataclasses import replace

from resnet44 import SPACE, trial
from situations import situation

from whet.core.space import Decision
from whet.schedule.goal import Goal

CUT, INT8 = Decision({"block0:keep": False}), Decision({"block1:keep": False, "network:int8": "all"})


def test_structures_of_a_stage_are_those_that_became_trials_of_it_and_those_that_failed_at_it() -> None:
    made = trial(0, "short", 2.0, 0.0, 0)
    failed = [
        replace(trial(1 + i, "failed", 1.0, 0.0, 0), decision=INT8, attempted=stage)
        for i, stage in enumerate(("short", "full"))
    ]
    assert situation([made, *failed], SPACE, Goal()).structures_of("short") == {CUT, Decision({"block1:keep": False})}
    assert situation([made, *failed[1:]], SPACE, Goal()).structures_of("short") == {CUT}


def test_drops_are_told_by_the_rate_at_the_goal_s_limit() -> None:
    seen = {Decision({"a": i}).to_json(): pair for i, pair in enumerate([(0.1, 0.01)] * 3 + [(0.1, 0.1)] * 3)}
    for limit in (0.01, 0.1):
        found = situation([], SPACE, Goal(limit), {"untrained": seen}, repairs=True)
        assert found.rate() == limit / 0.1 and round(found.drop_told(0.05), 9) == limit / 2
