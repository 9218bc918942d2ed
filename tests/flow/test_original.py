"""The uncompressed network in each setting: which is the reference, which are the bars, which are not scored."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.errors import StudyError, TargetError, TaskError
from whet.flow.original import Original, scored

SETTINGS = [
    {"runtime": runtime, "precision": precision, "threads": threads}
    for runtime, precision in (("openvino", "bf16"), ("openvino", "f32"), ("onnxruntime", "f32"))
    for threads in (2, 1)
]
TIMES = {f"{s['runtime']}/{s['precision']}/{s['threads']}": float(i + 1) for i, s in enumerate(SETTINGS)}
TARGET: Any = SimpleNamespace(name="paper", all_settings=lambda: SETTINGS)


@pytest.mark.parametrize(("limit", "bars"), [(None, 6), (0.05, 6), (0.01, 4), (0.0, 4)])  # bf16 drops 0.02 here
def test_a_setting_that_breaks_the_limit_is_no_bar(limit: float | None, bars: int) -> None:
    qualities = {"openvino/bf16": 0.88, "openvino/f32": 0.9, "onnxruntime/f32": 0.9}
    original = Original(Path("model.onnx"), TIMES, qualities, "openvino/f32", {})
    assert len(original.bars(TARGET, lambda quality: 0.9 - quality, limit)) == bars


@pytest.mark.parametrize(
    ("broken", "reference"),
    [((), "openvino/f32"), (("openvino",), "onnxruntime/f32"), (("f32",), "openvino/bf16")],
)
def test_the_reference_is_a_setting_that_runs(broken: tuple[str, ...], reference: str) -> None:
    def score(artifact: Any) -> float:
        if any(word in artifact.settings.values() for word in broken):
            raise TargetError("no kernel")
        return 0.9

    found = scored(Path("model.onnx"), TARGET, TIMES, {}, score)
    assert found.reference == reference and found.quality == 0.9
    assert all(found.unfit[name] == "no kernel" for name in {"openvino/f32"} - set(found.qualities))


@pytest.mark.parametrize(("bf16", "asked"), [(0.9, 2), (0.5, 3)])
def test_what_cannot_be_the_bar_is_not_scored_unless_what_is_faster_breaks_the_limit(bf16: float, asked: int) -> None:
    found: list[str] = []

    def score(artifact: Any) -> float:
        found.append(artifact.settings["precision"])
        return bf16 if artifact.settings["precision"] == "bf16" else 0.9

    times = {n: {"bf16": 1.0, "f32": 2.0}[n.split("/")[1]] * (1.25 if "onnx" in n else 1) for n in TIMES}
    scored(Path("model.onnx"), TARGET, times, {}, score, lambda quality, reference: reference - quality < 0.1)
    assert len(found) == asked


def test_a_network_that_cannot_be_scored_anywhere_is_an_error_and_names_why() -> None:
    def nan(artifact: Any) -> float:
        raise TaskError("metric 'accuracy' returned nan.")

    with pytest.raises(TaskError, match="returned nan"):
        scored(Path("model.onnx"), TARGET, TIMES, {}, nan)
    with pytest.raises(TargetError, match="'paper' cannot run the network: no FFT"):
        scored(Path("model.onnx"), TARGET, {}, dict.fromkeys(TIMES, "no FFT"), nan)


def test_an_error_that_ends_the_run_is_not_taken_for_an_unfit_setting() -> None:
    def full(artifact: Any) -> float:
        raise StudyError("the disk is full")

    with pytest.raises(StudyError):
        scored(Path("model.onnx"), TARGET, TIMES, {}, full)


def test_a_resumed_study_reads_the_original_as_it_was(tmp_path: Path) -> None:
    found = scored(tmp_path, TARGET, TIMES, {"inductor/f32/1": "no compiler"}, lambda artifact: 0.9)
    assert Original(tmp_path, **json.loads(json.dumps(found.to_dict()))) == found


def test_each_kind_is_scored_in_its_fastest_setting() -> None:
    seen: list[str] = []

    def score(artifact: Any) -> float:
        seen.append(f"{artifact.settings['runtime']}/{artifact.settings['threads']}")
        return 0.9

    scored(Path("model.onnx"), TARGET, TIMES | {"onnxruntime/f32/1": 0.5}, {}, score)
    assert seen == ["openvino/2", "onnxruntime/1"]
