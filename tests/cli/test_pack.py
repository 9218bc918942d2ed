"""`whet pack` and `whet unpack` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from whet.cli.main import app
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
    ways = [CliRunner().invoke(app, ["eval", str(path), *words]) for path in (file, tmp_path / "net.whet")]
    first, second = (json.loads(done.stdout)["scores"] for done in ways)
    assert first == second


def test_a_price_of_bits_makes_it_smaller(tmp_path: Path) -> None:
    sizes = []
    for price in ("0", "0.05"):
        words = ["pack", "digits_cnn", "--task", "digits", "--distortion", price, "--out", str(tmp_path / "a.whet")]
        done = CliRunner().invoke(app, [*words, "--weights", "5 levels", "--json"])
        sizes.append(json.loads(done.stdout)["bytes_after"])
    assert sizes[1] < 0.8 * sizes[0]


def test_wrong_words_are_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["pack", "digits_cnn", "--task", "digits", "--distortion", "0", "--weights", "int5"])
    assert "unknown weights 'int5'" in str(done.exception)
    done = CliRunner().invoke(app, ["pack", "digits_cnn"])
    assert "give FILE.onnx, or --distortion" in str(done.exception)
