"""What is resumed, what is refused, and what beginning anew leaves alone; nothing is searched here."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.core.errors import StudyError
from whet.flow.optimize import optimize

MODULE = sys.modules["whet.flow.optimize"]


def made(seed: int = 0) -> tuple[whet.Net, whet.Task]:
    torch.manual_seed(seed)
    x = torch.randn(64, 8)
    net = whet.lift(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), x[:2], name="tiny")
    torch.manual_seed(9)
    data = [(torch.randn(32, 8), torch.randint(0, 3, (32,))) for _ in range(2)]
    return net, whet.Task("tiny", data, data, functional.cross_entropy, whet.accuracy)


@pytest.fixture(autouse=True)
def unsearched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_search", lambda evaluator, plan: None)
    monkeypatch.setattr(MODULE, "deliver", lambda evaluator: evaluator)


def begun(out: Path, net: whet.Net | None = None, task: whet.Task | None = None, **options: Any) -> Any:
    mine = made()
    return optimize(net or mine[0], task or mine[1], out=out, **{"max_drop": "1%", "budget": "9s", **options})


def test_the_same_network_goes_on_and_may_take_longer(tmp_path: Path) -> None:
    begun(tmp_path).study.remember("here", 1)
    assert begun(tmp_path, budget="1h").study.recall("here") == 1


def test_another_network_data_or_code_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path)
    task = made()[1]
    shifted = [(x + 1, y) for x, y in task.train]
    for options, named in (
        ({"net": made(1)[0]}, "weights was '[0-9a-f]{12}', now '[0-9a-f]{12}'"),
        ({"task": replace(task, train=shifted)}, "train data was '2 batches"),
        ({"task": replace(task, val=[*task.train, *task.train])}, "val data was '2 batches.*now '4 batches"),
        ({"task": replace(task, metric_name="error", direction="min")}, "metric was"),
        ({"seed": 3}, "seed was 0, now 3"),
    ):
        with pytest.raises(StudyError, match=f"(?s){named}.*--restart, or give another --out"):
            begun(tmp_path, **options)
    monkeypatch.setattr("whet.flow.identity.code", lambda: "0.0.1 (other)")
    with pytest.raises(StudyError, match=r"code was .*now '0\.0\.1 \(other\)'"):
        begun(tmp_path)


def test_restart_begins_anew_and_takes_away_only_what_whet_wrote(tmp_path: Path) -> None:
    evaluator = begun(tmp_path)
    evaluator.study.remember("here", 1)
    for name in ("trials/0/model.onnx", "front/0/manifest.json"):
        evaluator.folder.claim(name)
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("whet's")
    mine = [tmp_path / name for name in ("main.py", "front/mine.txt", "trials/0/labels.csv", "trials/7/model.onnx")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    again = begun(tmp_path, net=made(1)[0], restart=True)
    assert again.study.recall("here") is None
    assert all(path.read_text() == "mine" for path in mine)
    assert not (tmp_path / "front/0").exists() and not (tmp_path / "trials/0/model.onnx").exists()


@pytest.mark.parametrize("restart", [False, True])
def test_the_study_of_another_program_is_left_as_it_is(tmp_path: Path, restart: bool) -> None:
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute("create table studies (study_id integer, study_name text)")
    before = (tmp_path / "study.db").read_bytes()
    with pytest.raises(StudyError, match=r"holds 'study\.db'"):
        begun(tmp_path, restart=restart)
    assert (tmp_path / "study.db").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"study.db"}


def test_a_second_process_is_refused_and_a_failed_one_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inside(evaluator: Any, plan: Any) -> None:
        with pytest.raises(StudyError, match="in use by process"):
            begun(tmp_path)
        raise ZeroDivisionError

    monkeypatch.setattr(MODULE, "_search", inside)
    with pytest.raises(ZeroDivisionError):
        begun(tmp_path)
    monkeypatch.setattr(MODULE, "_search", lambda evaluator, plan: None)
    begun(tmp_path)
