"""How files are labelled, in which settings they run, and what they weigh."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from whet.bench.peers import judge
from whet.bench.peers.judge import LATE, Judge, settings_of, zstd_bytes
from whet.bench.peers.work import Delivered
from whet.core.errors import WhetError
from whet.hardware.measure import Latency


def latency(ratio: float) -> Latency:
    return Latency("x", 1.0 / ratio, ratio, 0.9 * ratio, 1.1 * ratio, 9, "made up", "")


def sitting(threads: int = 2) -> Any:
    """Return a judge that opens nothing."""
    made = Judge.__new__(Judge)
    task = SimpleNamespace(loss_of_quality=lambda quality, reference: reference - quality)
    made.work = SimpleNamespace(latency_only=False, seconds=10.0, bundle=SimpleNamespace(task=task))  # type: ignore[assignment]
    return made


def test_settings_begin_with_all_threads_and_keep_a_hint() -> None:
    found = settings_of(Delivered("x", "m", "onnxruntime", "f32"), 2)
    assert found == [{"runtime": "onnxruntime", "precision": "f32", "threads": n} for n in (2, 1)]


def test_a_row_is_a_ratio_to_the_same_runtimes_f32_and_late_beyond_a_tenth(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"0" * 100)
    setting = {"runtime": "openvino", "precision": "bf16", "threads": 2}
    for seconds, late in ((10.0 * LATE - 0.1, False), (10.0 * LATE + 0.1, True)):
        item = Delivered("small", str(tmp_path / "model.onnx"), "openvino", seconds=seconds)
        row = sitting()._row("peer", item, setting, latency(3.0), {"openvino": latency(0.5)}, 0.85, 0.9)
        assert (row.speedup, row.speedup_f32, row.size_bytes, row.late) == (3.0, 6.0, 100, late)
        assert row.drop == pytest.approx(0.05) and row.setting == "openvino/bf16/2"
    other = sitting()._row("peer", item, setting, latency(3.0), {}, None, 0.9)
    assert other.speedup_f32 is None and other.drop is None


def test_a_file_that_cannot_be_scored_is_lost_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def scored(self: Judge, item: Delivered, setting: Any) -> float:
        if item.name == "bad":
            raise WhetError("takes one sample alone\nand more")
        return 0.9

    monkeypatch.setattr(Judge, "_quality", scored)
    served = {f"p: {n}": (Delivered(n, n, "openvino"), {}) for n in ("good", "bad")}
    qualities, errors = sitting()._qualities(served)
    assert qualities == {"p: good": 0.9} and errors == {"p: bad": "takes one sample alone"}
    assert judge._label("p", "good") == "p: good"


def test_side_files_count_after_compression(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a" * 5000)
    alone = zstd_bytes(tmp_path / "model.onnx")
    assert alone == len(zstandard.ZstdCompressor(level=19).compress(b"a" * 5000)) < 100
    (tmp_path / "model.data").write_bytes(bytes(range(256)))
    (tmp_path / "other.data").write_bytes(bytes(range(256)))
    assert zstd_bytes(tmp_path / "model.onnx") > alone + 200
