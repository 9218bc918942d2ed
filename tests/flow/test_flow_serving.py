"""Each delivered file lies beside what serves it, and its manifest says what that takes and how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick import made, search, untimed

import whet
from whet.core.errors import TargetError
from whet.flow import serving
from whet.hardware.fresh import served_fresh
from whet.hardware.targets import get
from whet.verdict.serve_check import serve_check
from whet.verdict.serve_files import read_sample
from whet.verify.manifest import check_files

FILES = {"model.onnx", "manifest.json", "serve.py", "settings.json", "sample.npz"}


def test_what_is_delivered_serves_alone_with_the_quality_of_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "served_fresh", served_fresh)  # not what tests of searches make up
    with untimed():
        front = search(tmp_path / "r", passes=("quantize",), batch=2, seed=3)
    member, folder = front.members[0], tmp_path / "r" / "front" / "0"
    assert {p.name for p in folder.iterdir()} == FILES
    listed = (tmp_path / "r" / ".whet" / "files").read_text().split()
    assert {f"front/0/{name}" for name in FILES} <= set(listed)
    verdict = serve_check(folder, get("onnxruntime-cpu"), made()[1], ("val", "test"))
    assert verdict.passed, verdict.broken
    calls = read_sample(folder)
    assert len(calls) == serving.SAMPLE_CALLS
    first = next(iter(made()[1].val))[0]
    np.testing.assert_array_equal(np.concatenate([next(iter(i.values())) for i, _ in calls]), first[:8].numpy())
    manifest = check_files(folder)
    _says_what_serving_takes(manifest, member)
    _says_how_it_was_made(manifest)


def _says_what_serving_takes(manifest: dict[str, Any], member: Any) -> None:
    figures, served = manifest["figures"], member.serving
    assert served["p50_ms"] <= served["p95_ms"] <= served["p99_ms"] and served["calls"] >= serving.LEAST_CALLS
    for name in ("p50_ms", "p95_ms", "p99_ms", "cold_start_ms"):
        assert figures[name]["value"] == served[name] > 0 and figures[name]["unit"].startswith("ms")
    assert figures["p99_ms"]["unit"] == "ms, batch 2"
    assert figures["memory_bytes"]["value"] == member.memory_bytes == served["memory_bytes"] > 2**24


def _says_how_it_was_made(manifest: dict[str, Any]) -> None:
    assert manifest["made"]["whet"] == whet.__version__ and manifest["made"]["seed"] == 3
    assert manifest["made"]["max_drop"] == "30%" and manifest["made"]["date"].endswith("+00:00")
    assert manifest["inputs"] == [{"name": "input", "shape": [2, 8], "dtype": "float32", "batch_axis": 0}]
    assert [port["name"] for port in manifest["outputs"]] == ["output"]
    whole = manifest["original"]
    assert whole["accuracy_val"] == whole["accuracy_test"] > 0.9 and whole["latency_ms"] == 1.0
    assert whole["setting"].startswith("onnxruntime/f32/") and whole["size_bytes"] > 1000


def test_a_file_that_cannot_be_measured_is_delivered_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> Any:
        raise TargetError("no room")

    monkeypatch.setattr(serving, "served_fresh", fails)
    with untimed():
        front = search(tmp_path / "r", passes=("quantize",))
    assert front.members[0].serving == {} and "lacks what serves it: no room" in front.conclusion
    figures = check_files(tmp_path / "r" / "front" / "0")["figures"]
    assert "p99_ms" not in figures and "memory_bytes" not in figures


def test_a_sample_is_small_and_of_the_shapes_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SAMPLE_BYTES", 1)
    with untimed():
        search(tmp_path / "r", passes=("quantize",), batch=100)
    (inputs, _), *more = read_sample(tmp_path / "r" / "front" / "0")
    assert not more and next(iter(inputs.values())).shape == (100, 8), "batches of the data have 32"
    settings = json.loads((tmp_path / "r" / "front" / "0" / "settings.json").read_text())
    assert settings["batch"] == 100
