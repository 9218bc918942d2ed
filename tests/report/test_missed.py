"""What missed the limit, what was left undone, how the search ended."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from test_report import data, member, trial

from whet.report.missed import BRIEFLY, FORECAST, SCORED, VERIFIED, ended, missed, over_text, waiting
from whet.report.report import ReportData


def given(*trials: dict[str, Any], **more: Any) -> ReportData:
    found = trial(0, "full", 1.6, 0.008)
    return replace(data(), **({"trials": [found, *trials], "front": [member(0, 1.6, 0.008)]} | more))


def told(number: int, speedup: float, drop: float, **more: Any) -> dict[str, Any]:
    return trial(number, "predicted", speedup, drop) | {"decision": {"x": number}} | more


def tried(number: int, stage: str, speedup: float, drop: float, **more: Any) -> dict[str, Any]:
    return trial(number, stage, speedup, drop) | {"decision": {"x": number}} | more


def test_what_would_be_faster_and_broke_the_limit_is_named_with_by_how_much() -> None:
    trials = (
        tried(1, "full", 1.9, 0.013), tried(2, "short", 2.5, 0.03), told(3, 2.0, 0.011), told(4, 1.8, 0.02),
        tried(5, "full", 1.5, 0.02), tried(6, "full", 1.7, 0.02), tried(7, "probe", 3.0, 0.02),
        told(8, math.nan, 0.04, artifact="trials/8/model.onnx", gain=3.1), tried(9, "full", 9.0, 0.02, simulated=True),
    )  # fmt: skip
    found = missed(given(*trials))
    assert [(m.trial["number"], m.how) for m in found] == [(1, VERIFIED), (2, BRIEFLY), (8, SCORED), (3, FORECAST)]
    assert math.isclose(found[0].over, 0.003) and over_text(replace(data(), drop_unit=(100.0, "%")), 0.003) == "0.30%"
    assert missed(given(*trials, max_drop=None)) == []


def test_what_is_within_the_limit_and_was_not_verified_waits() -> None:
    trials = (
        told(1, 1.9, 0.001), tried(2, "short", 1.7, 0.0), told(3, 2.9, 0.0), tried(4, "short", 2.0, 0.0),
        tried(5, "full", 1.1, 0.0, parent=4), told(6, 2.2, 0.0), tried(7, "full", 1.2, 0.0, decision={"x": 6}),
        told(8, 1.2, 0.0), told(9, 2.0, 0.02),
    )  # fmt: skip
    assert [m.trial["number"] for m in waiting(given(*trials))] == [2, 3, 1]


def test_where_size_is_wanted_it_is_the_gain_that_counts() -> None:
    trials = (told(1, 1.0, 0.02, gain=5.0), told(2, 9.0, 0.02, gain=0.5))
    front = [member(0, 1.6, 0.008) | {"gain": 2.0}]
    assert [m.trial["number"] for m in missed(given(*trials, front=front, objectives=("size",)))] == [1]


def test_how_it_ended_is_told_as_far_as_it_is_known() -> None:
    seconds = {"delivery/last race": 4.0, "delivery/serving": 2.0, "full/train": 7.0, "short/train": 3.0}
    found = ended(given(told(1, 1.2, 0.0), seconds=seconds))
    assert found == [
        "55 of 60 s were used, 6 s of them for the delivery: the last race, scores, files.",
        "The best file was found after 0 s; 1 candidate came after it.",
        "Training took 10 s; 1 verified candidate was trained, on up to 100 samples.",
        "Of all that was tried or forecast, nothing of more gain was beyond the limit.",
    ]
    early = {"ended": {"interrupted": False, "trials": None, "epochs": None, "again": False}, "spent_seconds": 20.0}
    assert "It ended 40 s early: of what was left to try nothing was held worth the time." in ended(given(**early))
    for how, said in (
        ({"interrupted": True}, "The search was interrupted."),
        ({"again": True}, "Nothing was searched: the candidates are those of another study."),
        ({"trials": 12}, "The search was limited to 12 candidates."),
        ({"epochs": 2.5, "trials": 40}, "The training was limited to 2.5 passes over the data."),
    ):
        assert ended(given(ended=how))[1] == said
    assert ended(given(budget_seconds=math.inf))[0] == "It took 55 s; the budget was not in seconds."
    nearest = ended(given(front=[], nearest=member(0, 1.6, 0.02)))
    assert "The nearest candidate was found after 0 s; nothing came after it." in nearest
