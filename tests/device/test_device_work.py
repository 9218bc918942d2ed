"""What a device answers to orders is what whet's own functions give for the same file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import SETTINGS, inputs, model

from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Artifact
from whet.device import work as module
from whet.device.parts import MODEL
from whet.device.protocol import Malformed, Missing, packed, unpacked
from whet.device.store import Store
from whet.device.work import Work
from whet.hardware import targets
from whet.hardware.measure import LEAST_ROUNDS

TIMES = {"seconds": 0.01, "rounds": LEAST_ROUNDS, "tolerance": 0.5, "burst_seconds": 0.001, "seed": 0}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Store(tmp_path / "store"), targets.get("cpu"), most_seconds=5.0)


def put(work: Work, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    work.store.put(digest, io.BytesIO(data), len(data))
    return digest


def order(work: Work, path: Path, **settings: Any) -> dict[str, Any]:
    return {"files": {MODEL: put(work, path.read_bytes())}, "settings": {**SETTINGS, **settings}, "batch": 2}


def call(work: Work, path: Path, rows: int = 2) -> dict[str, Any]:
    return {"order": order(work, path), "inputs": put(work, packed([inputs(rows)]))}


def test_outputs_are_those_of_the_file_here(work: Work, tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx")
    found = work.run(call(work, path))
    assert isinstance(found, bytes)
    wanted = targets.get("cpu").open(Artifact(path, SETTINGS), 2)(inputs())
    assert np.array_equal(unpacked(found)[0], wanted) and wanted.any()
    with pytest.raises(TargetError, match=r"opened for shape \(2, 8\); got \(3, 8\)"):
        work.run(call(work, path, rows=3))
    with pytest.raises(Missing):
        work.run({**call(work, path), "inputs": "0" * 64})


def test_what_fails_to_open_is_told_as_it_is_here(work: Work, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    assert work.open({"order": order(work, model(path))}) == {}
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="truncated or no ONNX model"):
        work.open({"order": order(work, path)})
    with pytest.raises(TargetError, match="ONNX Runtime runs f32 only"):
        work.open({"order": order(work, model(path), precision="bf16")})


def test_calls_are_timed_against_each_other_by_the_one_function_that_does(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def timed(calls: Any, baseline: str, **options: Any) -> dict[str, list[float]]:
        given.update(options, baseline=baseline, outputs={name: one().shape for name, one in calls.items()})
        return {name: [0.5] for name in calls}

    monkeypatch.setattr(module, "timed", timed)
    calls = {"a": call(work, model(tmp_path / "a.onnx")), "b": call(work, model(tmp_path / "b.onnx", width=5))}
    assert work.time({"calls": calls, "baseline": "b", **TIMES}) == {"times": {"a": [0.5], "b": [0.5]}}
    assert given == {**TIMES, "baseline": "b", "outputs": {"a": (2, 4), "b": (2, 5)}}
    for wrong in (
        {"baseline": "c"},
        {"seconds": 6.0},
        {"rounds": 4},
        {"calls": {}},
        {"calls": {"a": {}}},
        {"seed": -1},
    ):
        with pytest.raises(Malformed):
            work.time({"calls": calls, "baseline": "a", **TIMES, **wrong})


def test_what_takes_longer_than_a_measurement_may_is_refused_at_once(work: Work, tmp_path: Path) -> None:
    asked = call(work, model(tmp_path / "a.onnx"))
    work.most_seconds = 1e-9
    with pytest.raises(TargetError, match="measures for at most 1e-09 s: start it with a larger --max-seconds"):
        work.time({"calls": {"a": asked}, "baseline": "a", **TIMES, "seconds": 1e-10})
    with pytest.raises(TargetError, match="200 calls of each of 1 files"):
        work.single({**asked, "seconds": 1e-10, "least": 200, "most": 200})


def test_single_calls_and_a_fresh_process(work: Work, tmp_path: Path) -> None:
    asked = call(work, model(tmp_path / "a.onnx"))
    found = work.single({**asked, "seconds": 0.001, "least": 20, "most": 30})
    assert isinstance(found, dict) and 20 <= len(found["seconds"]) <= 30 and min(found["seconds"]) > 0
    fresh = work.fresh({**asked, "inputs": {"input": {"sizes": [2, 8], "dtype": "float32"}}, "calls": 1})
    assert isinstance(fresh, dict) and fresh["peak_bytes"] > 10**7 and fresh["cold_start_seconds"] > 0
    for dtype in ("object", "O", "U8", "no type", "datetime64"):
        with pytest.raises(Malformed, match="no type of numbers"):
            work.fresh({**asked, "inputs": {"input": {"sizes": [2, 8], "dtype": dtype}}, "calls": 1})


def test_layers_are_timed_where_the_runtime_tells(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = call(work, model(tmp_path / "a.onnx"))
    request = {"files": {"0": asked["order"]}, "layers": ["w"], "inputs": asked["inputs"], "rounds": 3}
    assert work.layers(request) == {"layers": None}
    given: list[Any] = []
    monkeypatch.setattr(module, "layer_times", lambda *words: given.extend(words) or {"0": {"w": 1.0}})
    assert work.layers(request) == {"layers": {"0": {"w": 1.0}}}
    files, settings, layers, arrays, rounds, batch = given
    assert files["0"].read_bytes() == (tmp_path / "a.onnx").read_bytes() and settings == SETTINGS
    assert (layers, rounds, batch) == (["w"], 3, 2) and np.array_equal(arrays[0], inputs())
    with pytest.raises(Malformed, match="opened alike"):
        work.layers({**request, "files": {"0": asked["order"], "1": {**asked["order"], "batch": 3}}})


def test_few_files_stay_open_and_a_file_is_opened_once(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    own = work.target.open
    monkeypatch.setattr(type(work.target), "open", lambda self, a, b, s: opened.append(b) or own(a, b, s))
    monkeypatch.setattr(module, "KEPT_OPEN", 2)
    first = order(work, model(tmp_path / "a.onnx"))
    for batch in (1, 2, 1, 3, 1, 2):
        work.open({"order": {**first, "batch": batch}})
    assert opened == [1, 2, 3, 2] and len(work._open) == 2
