"""The outcome of a search in a few sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from quick import latency, made
from test_delivered import MEMBER

from whet.core.kinds import Kind
from whet.core.objectives import Figures, Objectives
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.conclude import ELSEWHERE, conclusion, is_better, meant
from whet.flow.delivered import Member
from whet.flow.original import ORIGINAL
from whet.flow.quantities import Limit
from whet.train.recipe import Recipe

BAR = {"runtime": "openvino", "precision": "f32", "threads": 1}
BF16 = {**BAR, "precision": "bf16"}
FOUND = replace(MEMBER, val=0.9, drop=0.005, speedup=1.5, speedup_low=1.4, size_bytes=250_000)
WHOLE = replace(FOUND, number=ORIGINAL, speedup=1.0, speedup_low=1.0, size_bytes=1_000_000)
FULL = Trial(0, "full", Decision(), 0.9, 0.005, 1.5)


def evaluator(objectives: Objectives | None = None, trials: tuple[Trial, ...] = (FULL,), limit: Any = None) -> Any:
    target = SimpleNamespace(name="openvino", all_settings=lambda: [BAR, BF16])
    request = SimpleNamespace(
        task=made()[1], target=target, objectives=objectives or Objectives(), limit=limit, drop_unit=(1.0, ""),
        max_drop=None if limit is None else limit.value / 100,
    )  # fmt: skip
    latency_ms = {"openvino/f32/1": 2.0, "openvino/bf16/1": 1.0, "onnxruntime/f32/1": 3.0}
    baseline = SimpleNamespace(
        bar="openvino/f32/1", bars=[BAR], reference=0.905, size_bytes=1_000_000, memory_bytes=8_000_000,
        figures=Figures(1.0, 1_000_000, 8_000_000), original=SimpleNamespace(latency_ms=latency_ms),
    )  # fmt: skip
    return SimpleNamespace(
        request=request, baseline=baseline, study=SimpleNamespace(trials=trials), recorder=SimpleNamespace(notes=[])
    )


def test_what_was_gained_is_said_first_with_its_quality() -> None:
    assert conclusion(evaluator(), [FOUND, WHOLE], None, {}) == (
        "x1.50 faster than the best uncompressed setting of any runtime (openvino/f32/1), "
        "with accuracy 0.9000 against 0.9050 on validation data."
    )
    smaller = conclusion(evaluator(Objectives(("size",))), [FOUND], None, {})
    assert smaller.startswith("x4.00 smaller than the uncompressed file: 250 kB against 1 MB, at x1.50 of its speed")


def test_where_nothing_is_within_the_limits_the_nearest_is_named_with_all_of_them() -> None:
    limits = Objectives(least_speedup=2.0, most_bytes=200_000)
    said = conclusion(evaluator(limits, limit=Limit(1.0, "%")), [WHOLE], FOUND, {})
    assert said.startswith(
        "No candidate stayed within a drop of 1% in accuracy and 200 kB and x2 of the speed; the nearest, trial 3, "
        "drops 0.0050 at x1.50 and 250 kB. Nothing helps: the uncompressed network in its fastest setting"
    )


@pytest.mark.parametrize(
    ("members", "trials", "said"),
    [
        ([WHOLE], (), "No candidate was finished within the budget"),
        ([WHOLE], (FULL,), "Nothing helps: nothing within the limit beat"),
        ([replace(FOUND, speedup=0.8, speedup_low=0.7)], (FULL,), "A file that loses less runs at x0.80 of it."),
    ],
)
def test_where_nothing_was_gained_that_is_said(members: list[Member], trials: tuple[Trial, ...], said: str) -> None:
    found = conclusion(evaluator(trials=trials), members, None, {})
    assert said in found and "is delivered as it is" in found and "faster than" not in found


def test_only_what_is_faster_beyond_the_spread_or_smaller_counts() -> None:
    assert is_better(FOUND, evaluator()) and not is_better(replace(FOUND, speedup_low=0.99), evaluator())
    assert is_better(replace(FOUND, speedup_low=0.5), evaluator(Objectives(("speed", "size"))))


@pytest.mark.parametrize(
    ("name", "ratio", "said"),
    [
        ("openvino/bf16/1", 1.8, "is x1.80 faster than that in openvino/bf16/1, where it breaks the limit."),
        ("onnxruntime/f32/1", 1.3, "is x1.30 faster than that in onnxruntime/f32/1, which target openvino leaves out."),
        ("onnxruntime/f32/1", ELSEWHERE, None),
        ("openvino/f32/1", 2.0, None),  # the bar itself
        ("3", 2.0, None),  # a candidate
    ],
)
def test_where_the_original_is_faster_elsewhere_it_is_said(name: str, ratio: float, said: str | None) -> None:
    found = conclusion(evaluator(), [FOUND], None, {name: latency(name, ratio)})
    assert (said is not None) is ("of target openvino (" in found) and (said or "") in found


def test_failures_and_notes_come_last() -> None:
    failed = [Trial(i, "failed", Decision(), math.nan, math.nan, math.nan, note=f"no kernel {i}.") for i in (1, 2)]
    given = evaluator(trials=(FULL, *failed))
    given.recorder.notes.append("The budget was short.")
    found = conclusion(given, [FOUND], None, {})
    assert found.endswith(" 2 candidates failed, trial 1 with: no kernel 1. The budget was short.")
    given.study.trials = (FULL, failed[1])
    assert "A candidate failed, trial 2 with: no kernel 2." in conclusion(given, [FOUND], None, {})


def test_what_was_told_from_the_data_is_said_where_it_is_not_as_everywhere() -> None:
    task = replace(made()[1], kinds=(Kind("logits", 1),))
    request: Any = SimpleNamespace(task=task, recipe=Recipe(), limit=Limit(1.0, "%"))
    assert meant(request, 0.9) == []
    assert meant(request, 90.0)[0].startswith("the limit is at most 1 of accuracy (1%), whose scale is 0 to 100")
    request.task = replace(task, kinds=(Kind("embedding"),), quality_note="quality is an angle")
    assert meant(request, 0.9) == ["quality is an angle", "training compares outputs with the original's by cosine"]
    request.task = replace(request.task, train=None)
    assert meant(request, 0.9) == ["quality is an angle"], "nothing is trained"


@pytest.mark.parametrize(
    ("doubtful", "said"),
    [
        ({"test_drop": 0.012}, "On the test data its drop is +0.0120, beyond the limit of 0.0100."),
        ({"drop_low": -0.002, "drop_high": 0.0101}, "Its drop of +0.0050 lies between -0.0020 and +0.0101 (95 %"),
        ({"floats": list("abcde")}, "In openvino/f32/1 layers whose weights and inputs"),
        ({"test_drop": 0.01, "drop_low": -0.02, "drop_high": 0.01}, ""),
    ],
)
def test_what_is_not_what_it_seems_is_said(doubtful: dict[str, Any], said: str) -> None:
    limited = evaluator(limit=Limit(1.0, "%"))
    sure = conclusion(limited, [FOUND, WHOLE], None, {})
    found = conclusion(limited, [replace(FOUND, **doubtful), WHOLE], None, {})
    assert found.removeprefix(sure).strip().startswith(said) and bool(said) == (found != sure)
    unlimited = conclusion(evaluator(), [replace(FOUND, **doubtful)], None, {})
    assert unlimited.endswith("on validation data.") or "floats" in doubtful
