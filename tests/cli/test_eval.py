"""`whet eval FILE` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from whet.cli.main import app
from whet.hardware.onnx_export import export_onnx
from whet.tasks import get


def test_a_file_is_scored_in_each_runtime_on_all_data(digits: tuple[Any, Any], tmp_path: Path) -> None:
    path = export_onnx(digits[0], tmp_path / "model.onnx")
    done = CliRunner().invoke(app, ["eval", str(path), "--task", "digits", "--target", "onnxruntime-cpu", "--json"])
    scores = json.loads(done.stdout)["scores"]
    assert [(s["setting"], s["data"], s["metric"]) for s in scores] == [
        ("onnxruntime/f32", "val", "accuracy"), ("onnxruntime/f32", "test", "accuracy"),
    ]  # fmt: skip
    task = get("digits").task
    from whet.core.task import predict

    for found, part in zip(scores, (task.val, task.test), strict=True):
        assert found["value"] == task.score(*predict(digits[0], part)) and found["samples"] == 360


def test_a_delivered_file_is_scored_as_it_is_served(digits: tuple[Any, Any], tmp_path: Path) -> None:
    export_onnx(digits[0], tmp_path / "model.onnx")
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1, "batch": 1}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    done = CliRunner().invoke(app, ["eval", str(tmp_path)])
    assert done.exit_code == 0 and done.output.count("onnxruntime/f32") == 2 and "openvino" not in done.output
