"""What a notebook shows of a front."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from whet.report.notebook import COLUMNS, NotInstalledError, figure, frame, html

SERVING = {"p50_ms": 0.1, "p95_ms": 0.2, "p99_ms": 0.3, "cold_start_ms": 12.0, "memory_bytes": 5e7, "calls": 900}


def data() -> dict[str, Any]:
    member = {
        "number": 3, "speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "latency_ms": 0.1, "val": 0.9,
        "test": None, "drop": 0.005, "size_bytes": 83_400, "memory_bytes": 58_000_000, "setting": "openvino/bf16/1",
        "samples": 40,
        "path": "trials/3/model.onnx", "delivered": "r/front/0", "serving": SERVING, "decision": {},
    }  # fmt: skip
    old = {**member, "number": -1, "test": 0.88, "serving": {}}
    return {
        "front": [member, old], "metric": "<accuracy>", "conclusion": "x1.50 & faster", "bar": "openvino/bf16/1",
        "drop_unit": (100.0, "%"),
    }  # fmt: skip


def test_a_table_has_a_row_a_file_and_nothing_of_it_is_markup() -> None:
    page = html(data())
    assert page.count("<tr>") == 3 and "x1.50 &amp; faster" in page and "&lt;accuracy&gt;" in page
    assert "<td>+0.50%</td>" in page and "<td>83.4 kB</td>" in page and "<td>0.3000</td>" in page
    assert "<td>0.8800</td>" in page


def test_a_frame_has_a_column_a_figure() -> None:
    pytest.importorskip("pandas")
    found = frame(data())
    assert list(found.columns) == list(COLUMNS) and len(found) == 2
    assert found["p99_ms"][0] == 0.3 and found["memory_bytes"][0] == 58_000_000 and found["number"][1] == -1


def test_without_pandas_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NotInstalledError, match="pip install pandas"):
        frame(data())


def test_a_figure_is_that_of_the_report() -> None:
    from test_report import data as report

    found = figure(vars(report()))
    assert {trace.name for trace in found.data} >= {"briefly trained", "fully trained, from its file"}
