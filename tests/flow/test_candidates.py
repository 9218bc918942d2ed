"""What is known of candidates that were not looked at, and what becomes of those that were."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.objectives import Objectives
from whet.core.run import Budget
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.flow.explore import Explore
from whet.flow.obvious import Hope
from whet.flow.stage import SCORED_NOTE, Plan

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0)])
HALF, QUARTER, BOTH = (
    Decision(d) for d in ({"b:width": 0.5}, {"b:width": 0.25}, {"a:keep": False, "b:width": 0.5})
)
HOPES = {HALF: Hope(0.02, 1.8, 1.8, {}), QUARTER: Hope(0.3, 3.0, 3.0, {}), BOTH: Hope(0.04, 2.0, 2.0, {})}


def trial(
    number: int, stage: Any, decision: Decision, drop: float = 0.01, speedup: float = 1.5, note: str = ""
) -> Trial:
    return Trial(number, stage, decision, quality=0.9 - drop, drop=drop, speedup=speedup, note=note)


def explore(trials: list[Trial], seconds: float = 180.0, file_seconds: float = 1.0, space: Space = SPACE) -> Explore:
    memos: dict[str, Any] = {
        "hopes": {d.to_json(): vars(hope) for d, hope in HOPES.items()}, "untrained": {HALF.to_json(): [0.02, 0.01]}
    }  # fmt: skip
    task = SimpleNamespace(
        loss_of_quality=lambda quality, reference: reference - quality, train=[], higher=True, drop="absolute",
        direction="max",
    )  # fmt: skip
    job = SimpleNamespace(
        space=lambda: space, max_drop=0.01, strategy="sensitivity", seed=0, finishers=(), budget_seconds=seconds,
        task=task, trials=None, net=None, objectives=Objectives(),
    )  # fmt: skip
    trainer = SimpleNamespace(
        speed=lambda what: SimpleNamespace(samples=lambda operations, seconds: 1e4), operations=lambda net: 1.0
    )
    bench: Any = SimpleNamespace(
        job=job, study=SimpleNamespace(trials=trials, recall=memos.get, remember=lambda key, value: None),
        run=SimpleNamespace(budget=Budget(seconds), progress=lambda event: None), repairs=True, trainer=trainer,
        quick_reference=lambda: 0.9, reference=0.9, epoch_samples=4096, feasible=lambda t: t.drop <= 0.01,
        cost=lambda what, otherwise: file_seconds, longest=lambda what, otherwise: 0.0, original_bytes=1,
    )  # fmt: skip
    return Explore(bench, Plan())


def test_the_drops_told_of_hopes_follow_what_was_scored_since() -> None:
    seen = [trial(0, "short", HALF), trial(1, "predicted", QUARTER, 0.5), trial(2, "predicted", BOTH, 0.5)]
    found = explore(seen).told()
    assert [t.number for t in found] == [1, 2]
    assert [t.drop for t in found] == pytest.approx([0.15, 0.02])  # half a point for each hundredth of error


def test_a_hope_that_was_looked_at_since_is_told_of_no_more() -> None:
    seen = [trial(0, "short", HALF), trial(1, "predicted", QUARTER), trial(2, "full", QUARTER)]
    assert not explore(seen).told()


def test_probes_and_forecasts_that_are_no_hopes_are_not_told_of() -> None:
    probe = trial(1, "predicted", Decision({"a:keep": False}))
    assert not explore([trial(0, "short", HALF), probe]).told()


def test_what_missed_the_limit_as_repaired_may_be_trained_once() -> None:
    missed = trial(1, "predicted", QUARTER, 0.2, note=SCORED_NOTE)
    assert [t.decision for t in explore([missed]).missed()] == [QUARTER]
    assert not explore([missed, trial(2, "full", QUARTER)]).missed()


def test_a_speed_up_by_operations_is_believed_as_far_as_others_were_realised() -> None:
    assert explore([])._realised(HOPES) == 1.0
    assert explore([trial(0, "short", HALF, speedup=1.8**0.5)])._realised(HOPES) == pytest.approx(0.5)
    assert explore([trial(0, "short", HALF, speedup=0.9)])._realised(HOPES) == 0.0


def test_probes_are_left_out_where_they_leave_no_time_to_train_what_there_is() -> None:
    candidate = [trial(0, "short", HALF)]
    assert explore(candidate, seconds=20.0, file_seconds=3.0).pressed()
    assert not explore(candidate, seconds=180.0).pressed()
    assert not explore([], seconds=20.0, file_seconds=3.0).pressed()  # proposals need something to go by
    one = Space([SPACE.choices["b:width"]])
    assert explore(candidate, seconds=180.0, space=one).pressed()  # the only choice was tried already
