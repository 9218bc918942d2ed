from __future__ import annotations

import io
import math
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from whet.report.console import COLUMNS, LiveProgress, front_table
from whet.report.figures import heat_map, layer_states, pareto
from whet.report.report import ReportData, render

EVIL = "<script>alert(1)</script>"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000", "--enable-logging=stderr",
)  # fmt: skip


PROBE = """<style>main { width: 390px }</style><script>
const probe = setInterval(() => {
  const plots = [...document.querySelectorAll(".plot")], said = document.body.dataset;
  if (!plots.every((plot) => plot.querySelector(".point, .trace, image, .hm"))) return;
  clearInterval(probe);
  const beyond = (e) => !e.closest(".scroll, .plot") && e.getBoundingClientRect().right > 391;
  said.beyond = "beyond:" + [...document.querySelectorAll("main *")].filter(beyond).map((e) => e.outerHTML);
  dispatchEvent(new Event("beforeprint"));
  said.folded = "folded:" + document.querySelectorAll("details:not([open], #candidates, #candidates *)").length;
  said.widths = "widths:" + plots.map((plot) => plot.querySelector(".main-svg").getAttribute("width"));
}, 200);
</script>"""
"""Added to a page: what is wider than a phone, which parts stay folded in print, how wide plots are there."""


def member(number: int, speedup: float, drop: float) -> dict[str, Any]:
    return {
        "number": number, "path": f"trials/{number}/model.onnx",
        "decision": {"stage1.0:keep": False, f"{EVIL}:width": 0.5},
        "settings": {}, "setting": "openvino/bf16/1", "val": 0.9 - drop, "drop": drop, "test": 0.89, "speedup": speedup,
        "speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1, "latency_ms": 0.1 / speedup, "size_bytes": 123456,
        "top1_agreement": 0.97, "max_abs_difference": 1.5, "relative_difference": 0.02, "samples": 40000,
        "protocol": "interleaved",
    }  # fmt: skip


CHANGED = [
    {"site": site, "kind": kind, "text": "made up"}
    for site, kind in (("stage1.0", "dropped"), ("stem", "narrower"), ("stem", "int8"), ("head", "int8"),
                       ("head", "repaired"), ("stage1.0.conv1", "int8"))
]  # fmt: skip


def trial(number: int, stage: str, speedup: float, drop: float) -> dict[str, Any]:
    return {
        "number": number, "stage": stage, "decision": {"stage1.0:keep": False}, "quality": 0.9 - drop, "drop": drop,
        "speedup": speedup, "samples": 100, "size_bytes": 40_000, "simulated": stage != "full",
        "spent_seconds": 10.0 * number,
        "changed": CHANGED,
    }  # fmt: skip


def data() -> ReportData:
    failed = trial(4, "failed", math.nan, math.nan) | {"attempted": "short", "note": f"TargetError: {EVIL} crashed"}
    trials = [
        trial(0, "probe", 1.1, 0.05),
        trial(5, "predicted", 1.3, 0.04),
        failed,
        trial(1, "short", 1.5, 0.03),
        trial(2, "full", 1.6, 0.008) | {"speedup_then": 2.2, "parent": 1},
        trial(3, "full", 1.2, 0.0),
    ]
    return ReportData(
        title="net on digits", network="net", task="digits", metric="accuracy", direction="max", reference_val=0.9,
        reference_test=0.89, max_drop=0.01, target="cpu", device={"description": "a CPU"}, bar="openvino/bf16/1",
        settings={"openvino/bf16/1": 0.1, "openvino/f32/1": 0.2}, trials=trials,
        front=[member(2, 1.6, 0.008), member(3, 1.2, 0.0)], nearest=None,
        layers=["stem", "stage1.0.conv1", "stage1.0.conv2", "head", EVIL], skipped={EVIL: f"because {EVIL}"},
        hypervolume=[(20.0, 0.001), (30.0, 0.002)], conclusion="x1.60 faster than the best uncompressed setting",
        command="whet optimize", budget_seconds=60, spent_seconds=55, versions={"torch": "2"},
    )  # fmt: skip


def browser() -> str:
    """Return a browser's command; where there is none the test is skipped, but not in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        why = "no browser: install chromium (Debian: apt-get install chromium) to have the report looked at in one"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    return found


def test_the_page_renders_its_plots_in_a_browser(tmp_path: Path) -> None:
    page = render(data(), tmp_path / "report.html")
    assert page.stat().st_size < 2_000_000
    page.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    command = [browser(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    for name in ("pareto", "layers", "history"):
        begin = done.stdout.index(f'id="{name}"')
        assert "main-svg" in done.stdout[begin : begin + 3000], name
    assert done.stdout.count('class="point"') >= 5
    assert "speed-up forecast, not measured" in done.stdout
    assert '"beyond:"' in done.stdout, "on a phone nothing is wider than the screen but what scrolls in its box"
    assert '"folded:0"' in done.stdout and '"widths:660,660,660"' in done.stdout, "in print all is open, on a sheet"
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not console
    assert EVIL not in re.sub(r"<script.*?</script>\n", "", done.stdout, flags=re.S).replace("\\u003c", "")


def test_the_page_is_whole_without_network_or_scripts(tmp_path: Path) -> None:
    text = render(data(), tmp_path / "report.html").read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    body = text[text.index("<main>") : text.index("</main>")]
    for shown in ("x1.60", "0.8920", "0.8900", "openvino/f32/1", "123,456", "97.0 %", "a CPU", "whet optimize"):
        assert shown in body, shown
    for name in ("pareto", "layers", "history"):
        [label] = re.findall(f'id="{name}" role="img" aria-label="([^"]+)"', body)
        assert f"<noscript><p>{label}" in body
    assert EVIL not in text and "&lt;script&gt;alert(1)" in body
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_forecasts_failures_and_earlier_figures_are_told_from_measurements(tmp_path: Path) -> None:
    shown = replace(data(), max_drop=0.01, limit="1%", drop_unit=(100.0, "%"), outside={"openvino/f32/1": "not asked"})
    text = render(shown, tmp_path / "report.html").read_text()
    body = text[text.index("<main>") : text.index("</main>")]
    for words in (
        "x1.30 (forecast)", "failed (short)", "crashed", "x1.60 (x2.20 when tried)", "+0.80%", "the limit is 1%",
        "openvino/bf16/1 — the bar", "openvino/f32/1 — not asked",
    ):  # fmt: skip
        assert words in body, words
    traces = {t["name"]: t for t in pareto(shown)["data"]}
    forecast = next(t for n, t in traces.items() if "forecast" in n)
    assert forecast["x"] == [1.3] and forecast["marker"]["symbol"] == "diamond-open"
    assert "forecast from multiply-accumulates" in forecast["text"][0]
    assert all(1.3 not in t["x"] for n, t in traces.items() if t is not forecast)
    full = traces["fully trained, from its file"]
    assert full["y"] == pytest.approx([0.8, 0.0])
    assert "x2.20 when it was tried" in full["text"][0] and "goes on from trial 1" in full["text"][0]
    assert not any(math.isnan(x) for t in traces.values() for x in t["x"]), "a failed candidate has no place"


def test_without_a_limit_in_per_cent_drops_are_in_the_metrics_unit() -> None:
    shown = [t for t in pareto(data())["data"] if t["name"].startswith("fully")]
    assert shown[0]["y"] == [0.008, 0.0] and "drop +0.0080" in shown[0]["text"][0]


def test_layers_show_what_was_done_to_them() -> None:
    kinds = layer_states(data(), data().front[0])
    assert kinds == ["narrower, int8", "dropped", "dropped", "int8", "as it is"]


def test_the_map_has_a_colour_for_each_kind_that_occurs() -> None:
    found = heat_map(data())
    assert found is not None
    [trace] = found["data"]
    assert trace["colorbar"]["ticktext"] == ["as it is", "int8", "narrower, int8", "dropped"]
    shown = [[trace["colorbar"]["ticktext"][v] for v in row] for row in trace["z"]]
    assert shown == trace["text"] and shown[1] == ["dropped"] * len(shown[1])
    assert len({colour for _, colour in trace["colorscale"]}) == 4


def test_the_page_answers_in_order_what_one_asks(tmp_path: Path) -> None:
    beyond = trial(6, "full", 2.5, 0.0123) | {"simulated": False, "decision": {"head:width": 0.5}}
    made = {"whet": "0.1.0", "date": "2026-01-01", "seed": 7}
    shown = replace(data(), drop_unit=(100.0, "%"), limit="1%", made=made, trials=[*data().trials, beyond])
    body = render(shown, tmp_path / "report.html").read_text()
    asked = (
        "What was gained",
        "The front",
        "What was done",
        "Why not more",
        "How to serve it",
        "Speed against quality",
    )
    places = [body.index(f"<h2>{question}</h2>") for question in asked]
    assert places == sorted(places)
    missed = body[places[3] : places[4]]
    assert "+1.23%" in missed and "0.23%" in missed and "head:width = 0.5" in missed
    assert "stage1.0.conv1" in body[places[2] : places[3]], "what was done to every layer, folded"
    assert "whet serve-check front/0" in body[places[4] : places[5]]


def test_reports_of_older_studies_render(tmp_path: Path) -> None:
    late = ("versions", "outside", "limit", "drop_unit", "notes", "unfit", "seconds", "objectives", "layer_times",
            "made", "original", "ended")  # fmt: skip
    older = ReportData(**{k: v for k, v in vars(data()).items() if k not in late})
    assert "What was gained" in render(older, tmp_path / "report.html").read_text()


def test_without_a_front_the_nearest_is_shown(tmp_path: Path) -> None:
    nothing = replace(data(), front=[], nearest=member(2, 1.6, 0.03), hypervolume=[])
    text = render(nothing, tmp_path / "report.html").read_text()
    assert "The nearest candidate" in text and 'id="layers"' not in text
    empty = replace(nothing, nearest=None, trials=[])
    assert "No candidate was finished" in render(empty, tmp_path / "empty.html").read_text()


def test_what_serving_a_file_takes_stands_beside_it_where_that_was_measured(tmp_path: Path) -> None:
    assert "cold start" not in render(data(), tmp_path / "old.html").read_text()
    taken = {"p50_ms": 0.0512, "p95_ms": 0.06, "p99_ms": 0.075, "calls": 900, "cold_start_ms": 12.5}
    front = [m | {"serving": taken, "memory_bytes": 58_000_000} for m in data().front]
    made = {"whet": "0.1.0", "date": "2026-01-01", "seed": 7}
    text = render(replace(data(), front=front, made=made), tmp_path / "report.html").read_text()
    assert "0.0512, 0.0600, 0.0750" in text and "58,000,000" in text and ">12.5</td>" in text
    assert "whet 0.1.0 on 2026-01-01, seed 7" in text


def test_progress_is_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with LiveProgress(console=Console(file=stream, width=200)) as progress:
        progress({"stage": "probing a", "seconds_left": 61})
        for step in range(50):
            progress({"stage": "training", "step": step, "steps": 50, "loss": 0.5, "seconds_left": 59})
        progress({"stage": "full", "trial": 3, "best": "x1.50 at drop +0.0010"})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("1:0") and "probing a" in lines[0]
    assert "trial 3" in lines[2] and "best x1.50" in lines[2] and "step" not in lines[2]


def test_a_new_row_begins_without_the_best_of_the_one_before() -> None:
    with LiveProgress(console=Console(file=io.StringIO())) as progress:
        progress({"stage": "full", "trial": 3, "best": "x1.50 at drop +0.0010", "row": "narrower alone"})
        progress({"stage": "training", "row": "int8 alone"})
        line = progress.__self__.line()  # type: ignore[attr-defined]
    assert "int8 alone" in line and "best" not in line and "trial" not in line


def test_front_table_shows_both_scores() -> None:
    shown = {
        "front": [member(2, 1.6, 0.008)], "nearest": None, "metric": "accuracy", "bar": "openvino/bf16/1",
        "reference": {"val": 0.9, "test": None},
    }  # fmt: skip
    stream = io.StringIO()
    Console(file=stream, width=80).print(front_table(shown))
    lines = stream.getvalue().splitlines()
    head, row = (next(line.split() for line in lines if start in line) for start in ("speed-up", "x1.60"))
    assert head == list(COLUMNS) and row[:6] == ["front/0", "x1.60", "1.50-1.70", "0.8920", "0.8900", "+0.0080"]
    assert any(line.startswith("front/0: ") and "=" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
