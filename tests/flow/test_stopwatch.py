"""Every second is charged once, to what was going on; a finished study tells where they went."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from quick import search, untimed
from rich.console import Console
from typer.testing import CliRunner

from whet.cli.main import app
from whet.flow import stopwatch
from whet.flow.failures import Attempt
from whet.flow.folder import recorded
from whet.flow.stopwatch import Stopwatch, seconds_table


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now[0])
    return now


def test_seconds_are_those_of_the_innermost_activity_and_stage(clock: list[float]) -> None:
    watch = Stopwatch()
    with watch.stage("search"):
        clock[0] += 1
        with watch.stage("probe"):
            clock[0] += 2
            with watch("train"):
                clock[0] += 4
                with watch("save"):
                    clock[0] += 8
                watch.charge("teacher", 1)
            clock[0] += 16
            assert watch.so_far()["probe/other"] == 18 and watch.so_far()["search/other"] == 1
    with watch("race"):
        clock[0] += 32
    expected = {"search/other": 1, "probe/other": 18, "probe/train": 3, "probe/save": 8, "probe/teacher": 1}
    assert watch.own == {**expected, "search/race": 32} and sum(watch.own.values()) == clock[0]
    assert watch.lasted == {"save": [8], "train": [12], "race": [32]}


def test_what_fails_is_charged_and_not_planned_by(clock: list[float]) -> None:
    watch = Stopwatch()
    with Attempt(lambda error: None, watch.stage("short")), watch("train"):
        clock[0] += 3
        raise RuntimeError
    assert watch.own == {"short/other": 0, "short/train": 3} and not watch.lasted


def test_the_table_shows_what_no_stage_has(clock: list[float]) -> None:
    out = Console(file=io.StringIO(), width=80)
    out.print(seconds_table({"probe/save": 2.0, "probe/other": 1.0}, 8.0))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split() for line in text.splitlines()[2:]]
    assert rows == [
        ["search", "5.0", "62.5%"], ["other", "5.0", "62.5%"],
        ["probe", "3.0", "37.5%"], ["save", "2.0", "25.0%"], ["other", "1.0", "12.5%"],
    ]  # fmt: skip


def test_a_finished_study_tells_where_its_seconds_went(tmp_path: Path) -> None:
    with untimed():
        front = search(tmp_path / "r", passes=("width", "quantize"), trials=2, epochs=2.0)
        own, spent = recorded(tmp_path / "r", "seconds"), recorded(tmp_path / "r", "spent_seconds")
        assert 0.9 * spent <= sum(own.values()) <= spent
        for key in ("short/quick", "full/evaluate", "probe/repair", "delivery/evaluate", "uncompressed/other"):
            assert own[key] > 0, key
        assert "Where the seconds went" in front.report.read_text(encoding="utf-8")
        search(tmp_path / "r", passes=("width", "quantize"), trials=2, epochs=2.0)
    again = recorded(tmp_path / "r", "seconds")
    assert again["short/quick"] == own["short/quick"] and again["delivery/other"] > own["delivery/other"]
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "r"), "--seconds"])
    assert shown.exit_code == 0 and "delivery" in shown.output and "share" in shown.output
