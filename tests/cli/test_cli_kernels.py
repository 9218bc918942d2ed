"""`whet measure --kernels` shows what a table holds, and is about the device alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whet.bench import kernels
from whet.bench.kernels import Row
from whet.cli import main
from whet.hardware.device import Device

ROWS = [
    Row("linear", "float", "openvino/f32/1", "gemm_f32", "f32", 1.0, 1.0, 1.0),
    Row("linear", "int8", "openvino/f32/1", "gemm_I8", "int8", 2.0, 1.9, 2.1),
    Row("linear", "int8", "onnxruntime/f32/1", fault="does not open"),
]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(kernels, "known", lambda target, cache: ROWS)
    monkeypatch.setattr("sys.argv", ["whet", "measure", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_table_is_shown_and_given_as_json(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(monkeypatch, "--kernels") == 0
    shown = capsys.readouterr().out
    assert "int8, x2.00 (1.90-2.10), gemm_I8" in shown and "does not open" in shown
    assert run(monkeypatch, "--kernels", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["precision"] for row in told["kernels"]] == ["f32", "int8", ""] and told["device"]["cpu"]


@pytest.mark.parametrize("bits", [7, 8])
def test_how_many_bits_weights_may_have_is_said(bits: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(Device, "weight_bits", property(lambda self: bits))
    assert run(monkeypatch, "--kernels") == 0
    assert ("weights have 7 bits in place of 8" in capsys.readouterr().out) == (bits == 7)
    assert run(monkeypatch, "--kernels", "--json") == 0 and json.loads(capsys.readouterr().out)["weight_bits"] == bits


def test_a_network_beside_it_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert run(monkeypatch, "net.onnx", "--kernels") == 2
    assert "net.onnx" in capsys.readouterr().err
