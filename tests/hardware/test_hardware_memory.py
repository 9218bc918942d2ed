"""The peak of resident memory of a fresh process that serves a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware import standalone
from whet.hardware.memory import peak_memory_bytes
from whet.hardware.targets import get

MEGABYTE = 2**20
SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}


def saved(folder: Path, width: int) -> Artifact:
    net = whet.lift(nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 8)), (torch.zeros(2, 8),))
    return Artifact(get("onnxruntime-cpu").save(net, folder), SETTINGS)


def test_weights_count_in_full(tmp_path: Path) -> None:
    # 1.5 million hidden units: 8 + 8 + 1 numbers of four bytes each, 97 MB, are there at least once.
    small, large = saved(tmp_path / "small", 16), saved(tmp_path / "large", 1_500_000)
    inputs = {"input": ([1, 8], "float32")}
    few, many = (peak_memory_bytes(artifact, inputs) for artifact in (small, large))
    assert large.size_bytes - small.size_bytes > 95 * MEGABYTE
    assert many - few > 0.95 * (large.size_bytes - small.size_bytes)
    assert 20 * MEGABYTE < few < 200 * MEGABYTE, "a process with torch in it holds more"


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_each_runtime_serves_alone(tmp_path: Path, runtime: str) -> None:
    artifact = Artifact(saved(tmp_path, 16).path, {**SETTINGS, "runtime": runtime})
    assert peak_memory_bytes(artifact, {"input": ([1, 8], "float32")}, calls=1) > 20 * MEGABYTE


def test_a_file_that_cannot_be_served_says_why(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(TargetError, match=r"model\.onnx.*ended with"):
        peak_memory_bytes(Artifact(tmp_path / "model.onnx", SETTINGS), {})


def test_the_peak_is_the_programs_own() -> None:
    # What `getrusage` says of a child begins with what its parent held when it was started.
    held = bytearray(300 * MEGABYTE)
    code = f"import sys; sys.path.insert(0, {str(Path(standalone.__file__).parent)!r}); import standalone"
    code += "; print(standalone.peak_resident_bytes())"
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert peak < 150 * MEGABYTE < len(held)
