"""Peers work in processes of their own; what they do wrong is a row, never a crash."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from whet.bench.peers import environment as environments
from whet.bench.peers import harness
from whet.bench.peers.environment import environment
from whet.bench.peers.work import Work
from whet.core.errors import UnknownNameError, WhetError
from whet.core.task import Task
from whet.tasks.bundle import Bundle


def peer(folder: Path, name: str, code: str) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "adapter.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return place


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work("digits", "digits_cnn", "", str(tmp_path / "out"), seconds=20.0, max_drop=0.01, threads=1)


def test_a_peer_works_and_hands_files_in(tmp_path: Path, work: Work) -> None:
    place = peer(
        tmp_path / "peers", "honest",
        """
        from whet.bench.peers.work import Work
        work = Work.ordered()
        module, example = work.module()
        assert 0 < work.seconds_left <= 20 and work.score(module) > 0.9
        assert len(list(work.calibration(5))) == 5
        path = work.place("a file", ".txt")
        path.write_text("x")
        work.deliver("a file", path, "openvino", "f32", "a note")
        """,
    )  # fmt: skip
    effort = harness.work_of(place, work, install=False, progress=lambda event: None)
    assert effort.error == "" and effort.seconds > 0 and effort.peak_memory_mb > 10
    (delivered,) = work.delivered()
    assert (delivered.name, delivered.runtime, delivered.precision) == ("a file", "openvino", "f32")
    assert Path(delivered.path).read_text() == "x"


def test_an_error_is_scored_so_that_ratios_keep_their_sense(work: Work) -> None:
    batches = [(torch.ones(2, 1), torch.ones(2, 1))]
    task = Task("mine", batches, batches, torch.nn.functional.mse_loss, lambda o, t: float(o.sum()), direction="min")
    work._bundle = Bundle(task, {}, ())
    good, worse = work.score(lambda x: x), work.score(lambda x: 1.01 * x)
    assert good == 0.5 and worse == pytest.approx(good / 1.01)


def test_peak_memory_is_the_peers_own_not_that_of_who_started_it(tmp_path: Path, work: Work) -> None:
    held = np.ones(600 << 17)  # 600 MB here
    place = peer(tmp_path / "peers", "small", "import time; x = b'x' * (200 << 20); time.sleep(0.5)")
    effort = harness.work_of(place, work, install=False, progress=lambda event: None)
    assert effort.error == "" and held.nbytes == 600 << 20
    assert 200 < effort.peak_memory_mb < 300


def test_a_failure_is_its_last_line_and_earlier_files_count(tmp_path: Path, work: Work) -> None:
    place = peer(
        tmp_path / "peers", "failing",
        """
        from whet.bench.peers.work import Work
        work = Work.ordered()
        work.deliver("early", work.place("early", ".onnx"), "openvino")
        raise ValueError("no such layer")
        """,
    )  # fmt: skip
    effort = harness.work_of(place, work, install=False, progress=lambda event: None)
    assert effort.error == "ValueError: no such layer"
    assert [d.name for d in work.delivered()] == ["early"]


def test_a_peer_that_does_not_stop_is_stopped(tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "GRACE_SECONDS", 0.5)
    work.seconds = 0.5
    place = peer(tmp_path / "peers", "endless", "import time\ntime.sleep(60)\n")
    effort = harness.work_of(place, work, install=False, progress=lambda event: None)
    assert effort.error == "stopped: over its time" and effort.seconds < 10


def test_a_crash_names_its_signal(tmp_path: Path, work: Work) -> None:
    place = peer(tmp_path / "peers", "crashing", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert harness.work_of(place, work, False, lambda event: None).error == "died of SIGSEGV"


def test_what_is_not_installed_is_said(tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    place = peer(tmp_path / "peers", "absent", "")
    (place / "requirements.txt").write_text("surely-no-such-package==1.0\n", encoding="utf-8")
    assert environment(place, fresh=False).python is None
    assert harness.work_of(place, work, False, lambda event: None).error == "not installed: not installed"


def test_what_stands_alone_comes_without_its_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "_failure", lambda command: said.append(command) or "")
    place = peer(tmp_path / "peers", "two", "")
    (place / "requirements.txt").write_text("one==1.0\n", encoding="utf-8")
    (place / environments.ALONE).write_text("two==2.0\n", encoding="utf-8")
    made = environment(place)
    assert made.python is not None and environment(place, fresh=False) == made
    assert [Path(c[-1]).name for c in said] == ["requirements.txt", environments.ALONE]
    assert ["--no-deps" in c for c in said] == [False, True]


def test_done_work_is_not_done_again(tmp_path: Path, work: Work) -> None:
    places = [peer(tmp_path / "peers", "once", "raise SystemExit('Error: first')\n")]
    said: list[str] = []
    for _ in range(2):
        done = harness.efforts(places, work, tmp_path / "all", False, lambda event: said.append(event["stage"]))
        assert done["once"][0].error == "Error: first"
    assert said.count("once: working") == 1


def test_peers_are_found_by_name(tmp_path: Path) -> None:
    peer(tmp_path, "one", "")
    peer(tmp_path, "two", "")
    assert [p.name for p in harness.found(tmp_path)] == ["one", "two"]
    assert [p.name for p in harness.found(tmp_path, ["two"])] == ["two"]
    with pytest.raises(UnknownNameError, match="did you mean 'two'"):
        harness.found(tmp_path, ["twoo"])
    with pytest.raises(WhetError, match="holds no peers"):
        harness.found(tmp_path / "nothing")


def test_the_order_is_plain_json(tmp_path: Path, work: Work) -> None:
    path = work.write(tmp_path / "work.json")
    assert json.loads(path.read_text()) == asdict(work)
    assert asdict(Work(**json.loads(path.read_text()))) == asdict(work)
