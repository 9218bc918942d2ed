"""What a fresh process takes: memory, and the time until its first answer without the runtime's import."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware import standalone
from whet.hardware.fresh import served_fresh
from whet.hardware.targets import get

SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    net = whet.lift(nn.Linear(8, 8), (torch.zeros(2, 8),))
    return Artifact(get("onnxruntime-cpu").save(net, tmp_path_factory.mktemp("model")), SETTINGS)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_cold_start_is_shorter_than_the_process(artifact: Artifact, runtime: str) -> None:
    began = time.perf_counter()
    found = served_fresh(Artifact(artifact.path, SETTINGS | {"runtime": runtime}), {"input": ([1, 8], "float32")})
    assert 0 < found.cold_start_seconds < 0.7 * (time.perf_counter() - began), "the import counts"
    assert found.peak_bytes > 2**24


def test_the_clock_runs_from_opening_to_the_first_answer(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def opened(*given: Any) -> Any:
        time.sleep(0.05)
        return lambda feeds: (seen.append(1), time.sleep(0.03))

    monkeypatch.setattr(standalone, "opened", opened)
    order = {"path": str(artifact.path), "settings": SETTINGS, "inputs": {"input": [[1, 8], "float32"]}, "calls": 4}
    assert 0.08 <= standalone.serve(order)["cold_start_seconds"] < 0.1
    assert len(seen) == 4


def test_a_process_that_ends_early_is_told_with_its_last_line(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 3, "", "warning\nMemoryError: no room\n")
    monkeypatch.setattr("whet.hardware.fresh.subprocess.run", lambda *given, **options: done)
    with pytest.raises(TargetError, match="ended with MemoryError: no room"):
        served_fresh(artifact, {})
