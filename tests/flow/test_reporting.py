"""What manifests and the report say of a delivered front."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import latency, made
from test_conclude import BAR, BF16, evaluator
from test_delivered import MEMBER, front

from whet.core.passes import Change
from whet.core.run import Budget
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow import reporting
from whet.flow.original import ORIGINAL
from whet.flow.quantities import Limit
from whet.flow.recorder import PARAMETERS
from whet.flow.reporting import manifest, report
from whet.report.figures import GONE
from whet.report.report import ReportData

DEVICE = SimpleNamespace(id="cpu-1", to_dict=lambda: {"versions": {"torch": "2"}}, describe=lambda: "a processor")
LATENCIES = {"openvino/f32/1": latency("b", 1.0), "openvino/bf16/1": latency("o", 2.0), "1": latency("1", 1.4)}


def full(number: int, gain: float, drop: float, **more: Any) -> Trial:
    return Trial(number, "full", Decision(), 0.9, drop, gain, simulated=False, spent_seconds=10.0 * number, **more)


def given(trials: tuple[Trial, ...] = ()) -> Any:
    found = evaluator(trials=trials, limit=Limit(1.0, "%"))
    found.recorder.device = DEVICE
    found.memory = {}
    found.study.remember, found.study.recall = found.memory.__setitem__, found.memory.get
    vars(found.request).update(
        net=made()[0],
        batch=4,
        max_drop=0.01,
        skipped={"layer": "tied"},
        command="whet optimize",
        budget_seconds=60.0,
        seed=0,
        trials=9,
        epochs=None,
        again=None,
    )
    found.recorder.interrupted = False
    found.baseline.unfit = {"inductor/f32/1": "no compiler"}
    found.baseline.original.qualities = {"openvino/bf16": 0.8, "openvino/f32": 0.905}
    found.run = SimpleNamespace(budget=Budget(60.0, spent_before=20.0))
    found.stopwatch = SimpleNamespace(so_far=lambda: {"search/train": 3.0})
    found.drop = lambda quality: 0.905 - quality
    found.folder = SimpleNamespace(claim=lambda name: found.memory.setdefault("claimed", name))
    return found


def written(
    evaluator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: tuple[Any, ...] = ()
) -> ReportData:
    found: list[ReportData] = []
    monkeypatch.setattr(reporting, "render", lambda data, path: found.append(data))
    report(evaluator, replace(front(*members), report=tmp_path / "report.html"), LATENCIES)
    return found[0]


def test_each_figure_of_a_manifest_has_its_unit_protocol_and_device() -> None:
    found = manifest(given(), replace(MEMBER, test=0.88, memory_bytes=0))
    figures = found["figures"]
    assert all(f["unit"] and f["protocol"] and f["device"] == "cpu-1" for f in figures.values())
    assert figures["speedup"]["unit"] == "ratio to openvino/f32/1" and figures["latency_ms"]["unit"] == "ms, batch 4"
    assert figures["accuracy_test"]["value"] == 0.88 and figures["accuracy_test"]["protocol"].endswith(", once")
    assert figures["top1_agreement"]["value"] == 0.98 and "memory_bytes" not in figures
    assert not found["uncompressed"] and manifest(given(), replace(MEMBER, number=ORIGINAL))["uncompressed"]
    assert manifest(given(), replace(MEMBER, memory_bytes=7))["figures"]["memory_bytes"]["value"] == 7


def test_the_front_s_area_grows_with_each_verified_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between no speed-up and a drop of the limit: 0.5 * 0.005, then 1.0 * 0.01, then nothing more."""
    simulated = replace(full(2, 9.0, 0.0), simulated=True)
    trials = (full(0, 1.5, 0.005), simulated, full(3, 2.0, -0.002), full(4, 1.2, 0.009))
    found = written(given(trials), tmp_path, monkeypatch).hypervolume
    assert found == [(0.0, pytest.approx(0.0025)), (30.0, pytest.approx(0.01)), (40.0, pytest.approx(0.01))]


def test_the_last_race_is_shown_with_what_was_measured_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(given((full(0, 1.5, 0.0), full(1, 1.6, 0.0))), tmp_path, monkeypatch)
    assert [t["speedup"] for t in data.trials] == [1.5, 1.4]
    assert [t.get("speedup_then") for t in data.trials] == [None, 1.6]
    assert data.settings == pytest.approx({"openvino/f32/1": 1.0, "openvino/bf16/1": 0.5}), "by their ratio to the bar"


def test_it_is_said_why_a_setting_is_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = given()
    vars(evaluator.request)["drop_unit"] = (100.0, "%")
    outside = written(evaluator, tmp_path, monkeypatch).outside
    assert outside == {
        "openvino/bf16/1": "breaks the limit: drop +10.50%", "onnxruntime/f32/1": "not of target openvino"
    }  # fmt: skip
    del evaluator.baseline.original.qualities["openvino/bf16"]
    assert written(evaluator, tmp_path, monkeypatch).outside["openvino/bf16/1"] == "could not be scored"
    evaluator.baseline.bars = [BAR, BF16]
    assert set(written(evaluator, tmp_path, monkeypatch).outside) == {"onnxruntime/f32/1"}


def test_layers_that_were_left_are_those_of_what_was_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = (full(0, 1.5, 0.0, skipped={"a": "odd"}), full(3, 1.5, 0.0, skipped={"b": "grouped"}))
    assert written(given(trials), tmp_path, monkeypatch, (MEMBER,)).skipped == {"layer": "tied", "b": "grouped"}


def test_a_layer_that_went_with_its_block_was_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"skipped": {"block.1.conv": "not there", "b": "odd"}, "changed": (Change("block.1", GONE, "a branch"),)}
    assert written(given((full(3, 1.5, 0.0, **gone),)), tmp_path, monkeypatch, (MEMBER,)).skipped == {
        "layer": "tied", "b": "odd"
    }  # fmt: skip


def test_old_and_new_are_told_with_their_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = given()
    evaluator.memory[PARAMETERS.format(MEMBER.number)] = 77
    found = written(evaluator, tmp_path, monkeypatch, (MEMBER, replace(MEMBER, number=ORIGINAL)))
    whole = evaluator.request.net.parameter_count
    assert [m["parameters"] for m in found.front] == [77, whole]
    assert found.original == {"size_bytes": 1_000_000, "parameters": whole, "memory_bytes": 8_000_000}
    assert found.ended == {"interrupted": False, "trials": 9, "epochs": None, "again": False}


def test_the_study_keeps_the_report_s_data_and_the_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = given()
    data = written(evaluator, tmp_path, monkeypatch)
    memory = evaluator.memory
    assert memory["report"] == vars(data) and memory["claimed"] == "report.html"
    assert memory["seconds"] == {"search/train": 3.0} and math.isclose(memory["spent_seconds"], 20.0, abs_tol=1.0)
    [note] = data.notes
    assert note == "The limit: at most 0.01 of accuracy (1%), whose scale is 0 to 1, told from the original: 0.905."
