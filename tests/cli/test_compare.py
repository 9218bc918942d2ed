"""`whet measure A B` and `whet eval FILE`, on files that whet wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import whet
from whet.cli.main import app
from whet.hardware.onnx_export import export_onnx


def written(folder: Path, width: int) -> str:
    module = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))
    return str(export_onnx(whet.lift(module, (torch.zeros(2, 8),)), folder / "model.onnx"))


@pytest.mark.alone
def test_two_files_are_timed_in_one_race(tmp_path: Path) -> None:
    small, large = written(tmp_path / "small", 16), written(tmp_path / "large", 50_000)
    words = ["measure", large, small, "--target", "onnxruntime-cpu", "--seconds", "0.5"]
    done = CliRunner().invoke(app, [*words, "--json"])
    first, second = json.loads(done.stdout)["files"]
    assert (first["file"], second["file"]) == (large, small) and first["ratio"] == 1.0
    assert second["ratio"] > 2 and second["ratio_low"] <= second["ratio"] <= second["ratio_high"]
    assert second["size_bytes"] == Path(small).stat().st_size < first["size_bytes"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0 and "onnxruntime/f32/" in shown.output and "x1.00" in shown.output
