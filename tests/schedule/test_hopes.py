"""What is known of candidates that were not looked at, and what becomes of those that were."""

from __future__ import annotations

from typing import Any

import pytest
from situations import situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.actions import Hope, Predict, Try
from whet.schedule.goal import Goal
from whet.schedule.history import SCORED_NOTE
from whet.schedule.hopes import REALISED, Hopes, missed, told
from whet.schedule.mending import Mending
from whet.schedule.situation import Situation

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0)])
HALF, QUARTER, BOTH = (Decision(d) for d in ({"b:width": 0.5}, {"b:width": 0.25}, {"a:keep": False, "b:width": 0.5}))
HOPES = {HALF: Hope(0.02, 1.8, 1.8, {}), QUARTER: Hope(0.3, 3.0, 3.0, {}), BOTH: Hope(0.04, 2.0, 2.0, {})}


def trial(
    number: int, stage: Any, decision: Decision, drop: float = 0.01, speedup: float = 1.5, note: str = ""
) -> Trial:
    return Trial(number, stage, decision, quality=0.9 - drop, drop=drop, speedup=speedup, note=note)


def of(trials: list[Trial], seconds: float = 180.0, file_seconds: float = 1.0, space: Space = SPACE) -> Situation:
    memos: dict[str, Any] = {
        "hopes": {d.to_json(): vars(hope) for d, hope in HOPES.items()}, "untrained": {HALF.to_json(): [0.02, 0.01]},
        "errors": {d.to_json(): hope.error for d, hope in HOPES.items()},
    }  # fmt: skip
    return situation(
        trials, space, Goal(0.01, budget_seconds=seconds), memos, file_seconds, repairs=True, epoch_samples=4096
    )


def power(trials: list[Trial], decision: Decision = QUARTER) -> float:
    return Hopes(of(trials), Mending(of(trials))).power(decision, HOPES)


def test_the_drops_told_of_hopes_follow_what_was_scored_since() -> None:
    seen = [trial(0, "short", HALF), trial(1, "predicted", QUARTER, 0.5), trial(2, "predicted", BOTH, 0.5)]
    found = told(of(seen))
    assert [t.number for t in found] == [1, 2]
    assert [t.drop for t in found] == pytest.approx([0.15, 0.02])  # half a point for each hundredth of error


def test_a_hope_that_was_looked_at_since_is_told_of_no_more() -> None:
    seen = [trial(0, "short", HALF), trial(1, "predicted", QUARTER), trial(2, "full", QUARTER)]
    assert not told(of(seen))


def test_probes_and_forecasts_that_are_no_hopes_are_not_told_of() -> None:
    probe = trial(1, "predicted", Decision({"a:keep": False}))
    assert not told(of([trial(0, "short", HALF), probe]))


def test_what_missed_the_limit_as_repaired_may_be_trained_once() -> None:
    scored = trial(1, "predicted", QUARTER, 0.2, note=SCORED_NOTE)
    assert [t.decision for t in missed(of([scored]))] == [QUARTER]
    assert not missed(of([scored, trial(2, "full", QUARTER)]))


def test_a_speed_up_by_operations_is_believed_as_far_as_others_were_realised() -> None:
    assert power([]) == pytest.approx(REALISED)
    assert power([trial(0, "short", HALF, speedup=1.8**0.5)]) == pytest.approx(0.5, abs=0.03)
    assert power([trial(0, "short", HALF, speedup=0.9)]) == 0.0


def test_what_narrower_layers_gained_says_little_of_dropped_blocks() -> None:
    """One network with three quarters of its channels was no faster; then nothing at all was hoped for."""
    nothing = [trial(0, "short", HALF, speedup=1.0)]
    dropped = Decision({"a:keep": False})
    assert power(nothing) < 0.05
    assert power(nothing, dropped) == pytest.approx(REALISED)
    assert power(nothing) < power(nothing, BOTH) < power(nothing, dropped)


def test_where_the_first_look_is_far_beyond_what_is_mended_the_mildest_tells_of_those_nearer_to_the_limit() -> None:
    far = of([trial(0, "short", BOTH, 0.5, 2.0)])
    first: Any = next(Hopes(far, Mending(far)).run())
    assert isinstance(first, Try) and first.decision == HALF, "that of the least error"
    twice = of([trial(0, "short", BOTH, 0.5, 2.0), trial(1, "short", HALF, 0.4, 1.8)])
    assert isinstance(next(Hopes(twice, Mending(twice)).run()), Predict)


def test_probes_are_candidates_too_and_gain_what_finishers_do_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three minutes on ResNet-20 trained two blocks and more, where one alone would have been within the limit."""
    dropped = Decision({"a:keep": False})
    s = of([trial(0, "short", HALF), trial(1, "predicted", dropped, speedup=1.2), trial(2, "probe", QUARTER)])
    s.told.note(dropped, 0.03, probed=True)
    monkeypatch.setattr(type(s.finishing), "base_gain", 1.4)
    found = {t.decision: t for t in told(s)}
    assert found[dropped].gain == pytest.approx(1.2 * 1.4) and found[dropped].drop == pytest.approx(0.015)
    assert found[QUARTER].gain == pytest.approx(1.5), "of no probe: it is what was forecast of the finished form"
