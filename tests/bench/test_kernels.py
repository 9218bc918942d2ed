"""Which formats really run: kernels by the runtime's account, gains over floats of the same setting, kept by device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from whet.bench import kernels
from whet.bench.kernels import FORMATS, Row, known, said, table
from whet.hardware import targets

SMALL: dict[str, Any] = {
    "linear": (lambda: nn.Linear(64, 64), (64,)),
    "rows": (lambda: nn.Linear(64, 64), (4, 64)),
    "convolution": (lambda: nn.Conv2d(16, 16, 3, padding=1), (16, 8, 8)),
}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    monkeypatch.setattr(kernels, "LAYERS", SMALL)
    return table(targets.get("cpu", threads=1), seconds=0.05)


def test_each_layer_is_there_in_each_format_and_setting(rows: list[Row]) -> None:
    found = {(row.layer, row.format, row.setting): row for row in rows}
    settings = {row.setting for row in rows}
    assert {"openvino/f32/1", "onnxruntime/f32/1"} <= settings
    assert found.keys() == {(layer, form, each) for layer in SMALL for form in FORMATS for each in settings}
    assert all((row.ratio is None) == bool(row.fault) for row in rows)
    assert all(row.ratio == row.ratio_low == 1.0 for row in rows if row.format == "float")
    assert found["linear", "int8", "openvino/f32/1"].precision == "int8"
    assert found["linear", "dynamic int8", "onnxruntime/f32/1"].kernel == "DynamicQuantizeMatMul"
    assert found["linear", "dynamic int8", "openvino/f32/1"].precision == "f32"
    assert found["convolution", "int8", "onnxruntime/f32/1"].kernel == "QLinearConv"
    assert "convolution" in found["convolution", "dynamic int8", "openvino/f32/1"].fault.lower()
    assert not [row for row in rows if not row.fault and not row.precision], "the kernel of every layer is known"
    assert {row.precision for row in rows if row.format.startswith("int4") and "f32" in row.setting} == {"f32"}


def test_a_table_is_measured_once_for_a_device(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    monkeypatch.setattr(kernels, "table", lambda target, seconds: made.append(seconds) or rows)
    target = targets.get("cpu", threads=1)
    assert known(target, tmp_path) == rows == known(target, tmp_path)
    assert known(target, tmp_path, anew=True) == rows and len(made) == 2
    (file,) = tmp_path.iterdir()
    assert target.device.id in file.name and len(json.loads(file.read_text())) == len(rows)


def test_a_cell_says_what_is_multiplied_or_why_nothing() -> None:
    row = Row("linear", "int8", "openvino/f32/1", "brgemm_I8", "int8", 2.0, 1.9, 2.1)
    assert said(row) == "int8, x2.00 (1.90-2.10), `brgemm_I8`"
    assert said(Row("linear", "int8", "openvino/f32/1", fault="does not open")) == "does not open"
