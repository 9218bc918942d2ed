"""What the peers' table says, and that it says losses too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whet.bench.peers.table import markdown, overview, summary, summary_line, write, write_overview


def row(peer: str, name: str, speedup: float, drop: float | None) -> dict[str, Any]:
    return {
        "peer": peer, "name": name, "setting": "openvino/bf16/1", "quality": None if drop is None else 0.9 - drop,
        "drop": drop, "speedup": speedup, "speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1,
        "speedup_f32": None, "latency_ms": 1 / speedup, "size_bytes": 1000, "zstd_bytes": 900,
        "seconds": 9.0, "late": False, "note": "",
    }  # fmt: skip


ROWS = [
    row("runtime", "OpenVINO bf16", 1.0, 0.0),
    row("nncf", "int8", 1.2, 0.004),
    row("pruner", "half", 3.0, 0.08),
    row("whet", "front/0", 1.5, 0.009),
    row("whet", "front/1", 1.1, 0.0),
]


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "task": "digits", "network": "cnn", "metric": "accuracy", "budget_seconds": 60.0, "bar": "OpenVINO bf16",
        "reference": 0.9, "rows": rows, "failures": [{"peer": "broken", "error": "ImportError: no torchvision"}],
        "efforts": [
            {"peer": "nncf", "seconds": 3.0, "peak_memory_mb": 300.0, "error": "", "versions": {"nncf": "3.4.0"}}
        ],
        "device": {"cpu": "Some CPU"}, "protocol": "interleaved", "summary": summary(rows),
    }  # fmt: skip


def test_the_summary_compares_the_best_within_a_point() -> None:
    found = summary(ROWS)
    assert found["whet_speedup"] == 1.5 and found["best_peer_speedup"] == 1.2
    assert found["speedup_ratio"] == pytest.approx(1.25) and found["best_peer"] == "nncf: int8"
    ours = (1.5 - 1.0) * (0.05 - 0.009) + (1.1 - 1.0) * 0.009
    assert found["hypervolume_ratio"] == pytest.approx(ours / ((1.2 - 1.0) * (0.05 - 0.004)))


def test_the_smallest_file_within_a_point_is_compared_too() -> None:
    sizes = {"OpenVINO bf16": 10, "int8": 400, "half": 20, "front/0": 500, "front/1": 600}
    found = summary([{**r, "size_bytes": sizes[r["name"]]} for r in ROWS])
    assert (found["whet_bytes"], found["best_peer_bytes"], found["smallest_peer"]) == (500, 400, "nncf: int8")
    assert found["bytes_ratio"] == 1.25


def test_a_loss_is_said_as_plainly_as_a_win() -> None:
    losing = [*ROWS[:3], row("whet", "front/0", 1.1, 0.0)]
    assert summary(losing)["speedup_ratio"] < 1.0
    assert "whet x1.10 against x1.20 of the best peer (nncf: int8), ratio 0.92" in summary_line(table(losing))


def test_what_came_late_is_shown_and_counts_for_nothing() -> None:
    late = row("tuner", "int8", 9.0, 0.0) | {"late": True, "seconds": 400.0}
    assert summary([*ROWS, late]) == summary(ROWS)
    assert "| tuner | int8 (late: after 400 s) | x9.00" in markdown(table([*ROWS, late]))


def test_a_side_without_anything_within_the_point_has_no_ratio() -> None:
    found = summary([ROWS[0], ROWS[2], ROWS[3]])
    assert found["best_peer_speedup"] is None and found["speedup_ratio"] is None
    assert summary_line(table([ROWS[0], ROWS[2], ROWS[3]])).endswith("the best peer nothing within a point.")


def test_latency_only_rows_all_count() -> None:
    found = summary([row("runtime", "bf16", 1.0, None), row("nncf", "int8", 1.3, None), row("whet", "int8", 1.4, None)])
    assert found["speedup_ratio"] == pytest.approx(1.4 / 1.3)


def test_every_peer_is_a_row_failures_too() -> None:
    text = markdown(table(ROWS))
    for r in ROWS:
        assert f"| {r['peer']} | {r['name']} | x{r['speedup']:.2f}" in text
    assert "| broken |  | failed: ImportError: no torchvision |" in text
    assert "nncf 3.4.0" in text and "Some CPU" in text


def test_files_are_written_whole(tmp_path: Path) -> None:
    paths = write(table(ROWS), tmp_path)
    assert [p.suffix for p in paths] == [".json", ".md", ".html", ".png"]
    assert json.loads(paths[0].read_text())["summary"]["whet_speedup"] == 1.5
    page = paths[2].read_text()
    assert "<html>" in page and "the peers' front" in page.replace("\\u0027", "'") and "openvino" in page
    assert paths[3].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list(tmp_path.glob("*.part*"))


def test_the_overview_has_a_row_for_every_work_that_has_a_table(tmp_path: Path) -> None:
    for task in ("digits", "protein"):
        write({**table(ROWS), "task": task}, tmp_path)
    lines = write_overview(tmp_path).read_text(encoding="utf-8").splitlines()
    ratio = summary(ROWS)["hypervolume_ratio"]
    assert lines[2] == (
        f"| cnn, digits | x1.50 | x1.20 (nncf: int8) | 1.25 | {ratio:.2f} "
        "| 1,000 | 1,000 (nncf: int8) | 1.00 | [peers-digits-cnn](peers-digits-cnn.md) |"
    )
    assert len(lines) == 4 and lines[3].startswith("| cnn, protein |")
    none = table([ROWS[0], ROWS[2], ROWS[3]])
    assert "| cnn, digits | x1.50 | none |  |  | 1,000 | none |  |" in overview([none])
