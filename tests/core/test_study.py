from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from whet.core.errors import StudyError
from whet.core.objectives import Objectives
from whet.core.space import Choice, Decision, Space
from whet.core.study import Study, Trial

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.5, 1.0), 1.0)])


def trial(number: int) -> Trial:
    decision = Decision({"a:keep": number % 2 == 0})
    return Trial(number, "short", decision, quality=0.9, drop=0.01 * number, speedup=1.0 + number, note="é")


def test_reopened_study_holds_the_same_trials(tmp_path: Path) -> None:
    study = Study.in_folder(tmp_path, {"seed": 0}, SPACE)
    added = [study.add(trial(n)) for n in range(3)]
    study.remember("bar", {"name": "openvino/bf16/1"})
    again = Study.in_folder(tmp_path, {"seed": 0}, SPACE)
    assert again.trials == added
    assert again.recall("bar") == {"name": "openvino/bf16/1"}
    assert again.next_number == 3


def test_optuna_opens_it(tmp_path: Path) -> None:
    study = Study.in_folder(tmp_path, {}, SPACE)
    study.add(trial(1))
    loaded = optuna.load_study(study_name="whet", storage=study.storage)
    assert loaded.trials[0].params == {"a:keep": False}
    assert loaded.trials[0].values == [2.0, 0.01]


def test_other_objectives_are_refused_and_leave_the_study_as_it_was(tmp_path: Path) -> None:
    for wanted in (("size",), ("speed", "size")):
        folder, other = tmp_path / "-".join(wanted), Objectives(wanted)
        Study.in_folder(folder, {"objectives": {"wanted": ["speed"]}}, Space())
        with pytest.raises(StudyError, match="objectives was"):
            Study.in_folder(folder, {"objectives": other.describe()}, Space(), other)
        again = Study.in_folder(folder, {"objectives": {"wanted": ["speed"]}}, Space())
        assert again._study.metric_names == ["speedup", "drop"]


def test_a_study_for_size_shows_bytes_in_a_dashboard(tmp_path: Path) -> None:
    study = Study.in_folder(tmp_path, {}, Space(), Objectives(("speed", "size")))
    study.add(Trial(0, "full", Decision(), quality=0.9, drop=0.01, speedup=2.0, size_bytes=500))
    assert study._study.metric_names == ["speedup", "size_bytes", "drop"]
    assert study._study.get_trials()[0].values == [2.0, 500.0, 0.01]


def test_changed_config_and_space_are_refused_and_named(tmp_path: Path) -> None:
    Study.in_folder(tmp_path, {"seed": 0, "task": "digits"}, SPACE)
    with pytest.raises(StudyError, match="seed was 0, now 1"):
        Study.in_folder(tmp_path, {"seed": 1, "task": "digits"}, SPACE)
    with pytest.raises(StudyError, match="b:width"):
        Study.in_folder(tmp_path, {"seed": 0, "task": "digits"}, Space([*SPACE][:1]))


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 200])
def test_corrupt_study_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(StudyError, match=r"study\.db.*cannot be opened"):
        Study.in_folder(tmp_path, {}, SPACE)


def test_kill_leaves_whole_trials_only(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_study import SPACE, trial
from whet.core.study import Study
study = Study.in_folder(Path({str(tmp_path)!r}), {{}}, SPACE)
print("ready", flush=True)
for n in range(100000):
    study.add(trial(n)); print(n, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    printed = [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
    process.wait()
    kept = Study.in_folder(tmp_path, {}, SPACE).trials
    assert [t.number for t in kept] == list(range(len(kept)))
    assert len(printed) <= len(kept) <= len(printed) + 1
