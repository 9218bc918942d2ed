"""`whet pack` and `whet unpack` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whet.cli.main import app
from whet.core.task import predict
from whet.hardware.onnx_export import export_onnx


def test_a_file_is_packed_weighed_and_unpacked(digits: tuple[Any, Any], tmp_path: Path) -> None:
    file = export_onnx(digits[0], tmp_path / "net.onnx")
    done = CliRunner().invoke(app, ["pack", str(file), "--json"])
    told = json.loads(done.stdout)
    assert told["bytes_before"] == file.stat().st_size
    assert told["bytes_after"] == (tmp_path / "net.whet").stat().st_size < told["zstd_bytes"]
    assert told["other_bytes"] + sum(t["after_bytes"] for t in told["tensors"]) == told["bytes_after"]
    done = CliRunner().invoke(app, ["unpack", str(tmp_path / "net.whet"), "--out", str(tmp_path / "b")])
    assert done.exit_code == 0 and (tmp_path / "b" / "net.onnx").read_bytes() == file.read_bytes()


def test_the_table_says_what_each_tensor_takes(digits: tuple[Any, Any], tmp_path: Path) -> None:
    file = export_onnx(digits[0], tmp_path / "net.onnx")
    done = CliRunner().invoke(app, ["pack", str(file), "--out", str(tmp_path / "small.whet")], env={"COLUMNS": "160"})
    assert done.exit_code == 0 and "everything else" in done.output and "zstd -19 of the file" in done.output
    assert f"{file.stat().st_size:,} bytes packed to {(tmp_path / 'small.whet').stat().st_size:,}" in done.output


def test_a_packed_file_is_scored(digits: tuple[Any, Any], tmp_path: Path) -> None:
    file = export_onnx(digits[0], tmp_path / "net.onnx")
    CliRunner().invoke(app, ["pack", str(file)])
    words = ["--task", "digits", "--target", "onnxruntime-cpu", "--json"]
    done = CliRunner().invoke(app, ["eval", str(tmp_path / "net.whet"), *words])
    task = digits[1].task
    assert json.loads(done.stdout)["scores"][0]["value"] == task.score(*predict(digits[0], task.val))


def test_a_price_of_bits_makes_it_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.pack.rate.LADDER", (0.03, 0.1))
    words = ["pack", "digits_cnn", "--task", "digits", "--distortion", "1", "--out", str(tmp_path / "a.whet")]
    done = CliRunner().invoke(app, [*words, "--weights", "5 levels", "--json"])
    told = json.loads(done.stdout)
    assert told["bytes_after"] < 84_000  # 88,200 without a price


def test_wrong_words_are_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pack", "digits_cnn", "--task", "digits", "--distortion", "0", "--weights", "int5"])
    assert "unknown weights 'int5'" in str(done.exception)
    done = CliRunner().invoke(app, ["pack", "digits_cnn"])
    assert "give FILE.onnx, or --distortion" in str(done.exception)
