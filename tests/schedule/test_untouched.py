"""Ways of finishing are tried on the untouched network until one is good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from resnet44 import SPACE, trial
from situations import drive, situation

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.actions import FinishUntouched
from whet.schedule.goal import Goal
from whet.schedule.recovery import NOISE
from whet.schedule.untouched import FASTER, WELL_WITHIN, finish_untouched

FIRST, SECOND, OTHER = (
    Decision({"network:int8": "all"}),
    Decision({"network:int8": "asymmetric"}),
    Decision({"network:weights": "int4"}),
)


def tried(drop: float, gain: float, trials: list[Trial] | None = None, **more: Any) -> tuple[list[Decision], list[str]]:
    """Return the ways tried where the first one has such a drop and gain, and what is noted."""
    log, asked = [] if trials is None else trials, []
    s = situation(log, SPACE, Goal(0.01, budget_seconds=100.0), ways=[[FIRST, SECOND], [OTHER]], finishers=True, **more)

    def do(action: Any) -> None:
        assert isinstance(action, FinishUntouched)
        asked.append(action.way)
        log.append(replace(trial(len(log), "full", gain, drop, 0), decision=action.way))

    drive(finish_untouched(s), do)
    return asked, s.study.notes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("drop", "gain", "second"),
    [(0.02, 1.5, True), (NOISE * 0.01, 1.5, False), (0.02, 0.999 * FASTER, False)],
)
def test_the_next_way_comes_where_the_last_one_gains_and_costs_something(
    drop: float, gain: float, second: bool
) -> None:
    assert tried(drop, gain)[0] == [FIRST, *[SECOND] * second, OTHER]


def test_where_files_are_dear_a_way_well_within_the_limit_is_enough() -> None:
    assert tried(WELL_WITHIN * 0.01, 1.5, file_seconds=1.0)[0] == [FIRST, SECOND, OTHER]
    assert tried(WELL_WITHIN * 0.01, 1.5, file_seconds=2.0)[0] == [FIRST, OTHER]


def test_what_was_tried_or_failed_before_is_not_tried_again() -> None:
    failed = replace(trial(0, "failed", 1.0, 0.0, 0), decision=FIRST, attempted="full")
    assert tried(0.02, 1.5, [failed])[0] == [SECOND, OTHER]
    done = replace(trial(0, "full", 1.5, 0.02, 0), decision=FIRST)
    assert tried(0.02, 1.5, [done])[0] == [SECOND, OTHER]


def test_where_there_is_no_time_for_any_it_is_said() -> None:
    asked, [note] = tried(0.02, 1.5, file_seconds=30.0)
    assert not asked and note.startswith("the budget of 100 s is too short to try int8") and "a file takes 90 s" in note
