"""The quick suite on digits, whole: figures are there and well-formed, whoever wins."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whet.bench.peers import suite
from whet.bench.peers.harness import efforts, found
from whet.bench.peers.judge import settings_of
from whet.bench.peers.work import Delivered, Work
from whet.core.errors import UnknownNameError
from whet.hardware.device import fingerprint
from whet.hardware.targets import every_setting

ADAPTERS = Path(__file__).parents[3] / "benchmarks" / "peers"


def work_at_once(names: tuple[str, ...], out: Path) -> list[tuple[Path, bytes]]:
    """Let peers that compile and measure nothing work together, with time for that; return what is noted of each."""
    data = os.environ.get("WHET_DATA", "")
    work = Work("digits", "digits_cnn", data, "", seconds=60.0, max_drop=0.01, threads=fingerprint().cores)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: efforts(found(ADAPTERS, (name,)), work, out, False, lambda event: None), names))
    memos = [out / name / "effort.json" for name in names]
    return [(memo, memo.read_bytes()) for memo in memos]


@pytest.mark.alone
def test_quick_suite_gives_every_figure(tmp_path: Path) -> None:
    noted = work_at_once(("runtime", "onnxruntime"), tmp_path / "runs" / "digits_cnn-digits")
    table = suite.run(
        "digits", None, peers=ADAPTERS, out=tmp_path / "runs", results=tmp_path / "results", budget="20s", quick=True
    )
    assert all(memo.read_bytes() == before for memo, before in noted), "what is done is not done again"
    rows = {(r["peer"], r["name"]): r for r in table["rows"]}
    assert {peer for peer, _ in rows} == set(suite.QUICK)
    assert not table["failures"]
    assert ("runtime", "inductor f32") in rows and ("onnxruntime", "static int8, MinMax") in rows
    assert table["bar"].split(" (")[0] in {name for peer, name in rows if peer == "runtime"}
    for r in rows.values():
        assert 0.5 < r["quality"] <= 1.0 and math.isclose(r["drop"], table["reference"] - r["quality"], abs_tol=1e-9)
        assert 0 < r["speedup_low"] <= r["speedup"] <= r["speedup_high"] and r["latency_ms"] > 0
        assert 0 < r["zstd_bytes"] <= r["size_bytes"] * 1.01
    fastest = max(r["speedup"] for (peer, _), r in rows.items() if peer == "runtime")
    # Medians of ratios of three near-equals may go in a circle; the bar itself is at exactly 1.
    assert 1.0 <= fastest < 1.1
    # On a slow machine all of one side's files may come late, and late files have no share in the ratio.
    timely = {r["peer"] for r in rows.values() if not r["late"]}
    ratio = table["summary"]["speedup_ratio"]
    assert ratio is None if not {"whet", "onnxruntime"} <= timely else ratio > 0
    assert len(list((tmp_path / "results").iterdir())) == 5
    for effort in table["efforts"]:
        assert effort["seconds"] > 0 and effort["peak_memory_mb"] > 50


def test_a_task_outside_the_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        suite.run("digit", None, peers=ADAPTERS, out=tmp_path, results=tmp_path)


def test_a_file_is_tried_in_all_that_its_runtime_can() -> None:
    item = Delivered("x", "model.onnx", "openvino")
    legal = [s for s in every_setting() if s["runtime"] == "openvino"]
    assert sorted(map(str, settings_of(item, 2))) == sorted(map(str, legal))
    assert {s["precision"] for s in settings_of(Delivered("x", "m", "openvino", "f32"), 2)} == {"f32"}
