"""The line of progress."""

from __future__ import annotations

import io
import math
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from whet.report.console import LiveProgress


def test_a_budget_in_epochs_has_no_time_left_to_tell() -> None:
    out = io.StringIO()
    with LiveProgress(console=Console(file=out, width=80)) as progress:
        progress({"stage": "probing", "seconds_left": math.inf})
        progress({"stage": "training", "seconds_left": 75.0})
    first, second = out.getvalue().splitlines()
    assert first == "probing" and second == "1:15 left · training"


def test_in_a_notebook_a_thousand_events_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Cell:
        def update(self, shown: dict[str, str], raw: bool) -> None:
            assert raw
            written[-1] = shown["text/plain"]

    def display(shown: dict[str, str], raw: bool, display_id: bool) -> Cell:
        assert raw and display_id
        written.append(shown["text/plain"])
        return Cell()

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    out = io.StringIO()
    with LiveProgress(console=Console(file=out, force_jupyter=True, force_terminal=True)) as progress:
        for trial in range(1000):
            progress({"stage": f"probing {trial}", "trial": trial})
    assert written == ["probing 999 · trial 999"] and not out.getvalue()


def test_the_clock_moves_by_itself_and_says_how_long_a_stage_has_been_going(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("whet.report.console.time.monotonic", lambda: now[0])
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True)
    with LiveProgress(console=terminal) as progress:
        progress({"stage": "delivering", "seconds_left": 65.0})
        live = progress.__self__.live  # type: ignore[attr-defined]
        shown = [live.get_renderable().plain]
        for seconds in (5.0, 70.0):
            now[0] = 100.0 + seconds
            shown.append(live.get_renderable().plain)
        progress({"stage": "next", "seconds_left": 3.0})
        shown.append(live.get_renderable().plain)
    assert shown == ["1:05 left · delivering", "1:00 left · delivering (5 s)", "0:05 over · delivering (70 s)",
                     "0:03 left · next"]  # fmt: skip
