"""A study under another limit: what it found is delivered anew, nothing is searched, the study stays as it is."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from quick import Falling, made, search, untimed

import whet
from whet.core.errors import StudyError
from whet.core.study import Study
from whet.flow import again as flow
from whet.flow.optimize import optimize
from whet.schedule.history import SCORED_NOTE


def delivered(out: Path, source: Path, metric: Any = whet.accuracy, **options: Any) -> Any:
    return search(out, metric, passes=("quantize",), again=source, **options)


def record(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "study.db") as data:
        return list(data.iterdump())


def test_what_broke_the_old_limit_is_delivered_under_a_wider_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with untimed():
        first = search(tmp_path / "a", Falling(0.1), passes=("quantize",), max_drop="5%")
        before, files = record(tmp_path / "a"), sorted((tmp_path / "a").rglob("*"))
        assert not first.met and [m.number for m in first.members] == [-1]
        monkeypatch.setattr("whet.flow.optimize._search", lambda *given: 1 / 0)
        found = delivered(tmp_path / "b", tmp_path / "a", Falling(0.1), max_drop="30%")
    assert found.met and found.members[0].number >= 0 and found.members[0].drop == pytest.approx(0.1)
    assert record(tmp_path / "a") == before and sorted((tmp_path / "a").rglob("*")) == files
    assert (tmp_path / "b/front/0/model.onnx").exists() and (tmp_path / "b/report.html").exists()
    model = f"trials/{found.members[0].number}/model.onnx"
    assert (tmp_path / "a" / model).samefile(tmp_path / "b" / model), "no bytes are copied on one disk"


def test_a_search_goes_on_from_there(tmp_path: Path) -> None:
    with untimed():
        search(tmp_path / "a", passes=("quantize",), max_drop="5%")
        delivered(tmp_path / "b", tmp_path / "a")
        before = record(tmp_path / "a")
        search(tmp_path / "b", passes=("quantize",))
    assert record(tmp_path / "a") == before


def test_another_network_or_a_folder_in_use_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with untimed():
        search(tmp_path / "a", passes=("quantize",))
        net, task = made(seed=1)
        given: Any = {"target": "onnxruntime-cpu", "max_drop": "30%", "epochs": 1.0, "passes": ("quantize",)}
        with pytest.raises(StudyError, match="no study of that network and task: weights was"):
            optimize(net, task, out=tmp_path / "b", again=tmp_path / "a", **given)
        assert not (tmp_path / "b" / "study.db").exists() and not (tmp_path / "b" / "trials").exists()
        with pytest.raises(StudyError, match="holds a study: give another --out"):
            delivered(tmp_path / "a", tmp_path / "a")
        with pytest.raises(StudyError, match="holds no study"):
            delivered(tmp_path / "c", tmp_path / "nowhere")


def test_files_that_were_scored_and_not_timed_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those are that a search scores first, since much is expected of them, and that break its limit."""
    load = Study._load

    def scored(self: Study, frozen: Any) -> Any:
        trial = load(self, frozen)
        return replace(trial, stage="predicted", note=SCORED_NOTE) if trial.stage == "full" else trial

    with untimed():
        search(tmp_path / "a", Falling(0.1), passes=("quantize",))
        monkeypatch.setattr(Study, "_load", scored)
        timed: list[Any] = []
        kept = flow.time_scored
        monkeypatch.setattr("whet.flow.optimize.time_scored", lambda evaluator: timed.extend(kept(evaluator)))
        wide = delivered(tmp_path / "b", tmp_path / "a", Falling(0.1))
        assert {t.stage for t in timed} == {"full"} and wide.members[0].number in {t.number for t in timed}
        timed.clear()
        narrow = delivered(tmp_path / "c", tmp_path / "a", Falling(0.1), max_drop="5%")
        assert not timed and [m.number for m in narrow.members] == [-1]
