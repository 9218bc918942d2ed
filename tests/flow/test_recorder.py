"""What is written into a study, in which order, and what the user is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import latency, made

from whet.core.errors import StudyError
from whet.core.objectives import Figures, Objectives
from whet.core.run import Budget, Run
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.folder import Folder
from whet.flow.recorder import Recorder
from whet.flow.stopwatch import Stopwatch
from whet.schedule.goal import Goal
from whet.train.state import load_state

CUT = Decision({"a:keep": False})


class Log:
    """A study in memory; `seen` is whether the weights of each trial were there when it was added."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trials, self.seen = folder, list[Trial](), list[bool]()
        self.memory = dict[str, Any]()
        self.remember = self.memory.__setitem__

    @property
    def next_number(self) -> int:
        return len(self.trials)

    def add(self, trial: Trial) -> None:
        self.seen.append(trial.state is not None and (self.folder / trial.state).exists())
        self.trials.append(trial)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    events: list[Any] = []
    run = Run(made()[1], target=SimpleNamespace(), budget=Budget(100.0, spent_before=40.0), progress=events.append)  # type: ignore[arg-type]
    with closing(Folder(tmp_path)) as folder:
        found = Recorder(Log(tmp_path), run, folder, Stopwatch(), Goal(0.01, Objectives(("speed", "size"))))  # type: ignore[arg-type]
        found.reference, found.whole = 0.9, Figures(1.0, 1000)
        found.events = events  # type: ignore[attr-defined]
        yield found


def test_a_trial_has_its_figures_beside_the_original_s(recorder: Recorder) -> None:
    trial = recorder.record("full", CUT, 0.895, latency=latency("x", 2.0), size_bytes=125, samples=7, simulated=False)
    assert (trial.number, trial.decision, trial.samples) == (0, CUT, 7)
    assert trial.drop == pytest.approx(0.005) and trial.speedup == 2.0 and trial.spent_seconds >= 40.0
    assert trial.gain == pytest.approx((2.0 * 8.0) ** 0.5)
    assert recorder.record("short", CUT, 0.8, speedup=4.0).gain == 2.0, "of a size that is not known, the original's"
    assert recorder.record("probe", CUT, 0.8, gain=1.5, reference=0.7).drop == pytest.approx(-0.1)


def test_weights_are_there_before_the_trial_that_names_them(recorder: Recorder) -> None:
    net = made()[0]
    trial = recorder.record("full", CUT, 0.9, speedup=1.0, net=net)
    assert recorder.study.seen == [True] and trial.state in recorder.folder.files()  # type: ignore[attr-defined]
    assert trial.state is not None
    load_state(recorder.folder.path / trial.state, net.copy())
    assert recorder.study.memory == {"parameters:0": net.parameter_count}  # type: ignore[attr-defined]
    assert recorder.record("short", CUT, 0.9, speedup=1.0).state is None


def test_a_failure_is_a_trial_with_its_reason_and_the_log_has_the_traceback(recorder: Recorder) -> None:
    with recorder.attempt("short", CUT, 3):
        raise ValueError("no such width")
    [trial] = recorder.study.trials
    assert (trial.stage, trial.attempted, trial.parent, trial.decision) == ("failed", "short", 3, CUT)
    assert trial.note == "ValueError: no such width"
    log = (recorder.folder.own / "failures.log").read_text()
    assert log.startswith("trial 0: ") and "Traceback" in log and 'raise ValueError("no such width")' in log
    assert set(recorder.stopwatch.own) == {"short/other"}
    with pytest.raises(StudyError), recorder.attempt("short", CUT):
        raise StudyError("cannot be written")
    assert len(recorder.study.trials) == 1


def test_a_note_is_a_sentence_and_kept_once(recorder: Recorder) -> None:
    for text in ("the Budget is short", "The Budget is short.", "another"):
        recorder.note(text)
    assert recorder.notes == ["The Budget is short.", "Another."]


def test_the_best_is_a_file_within_the_limits(recorder: Recorder) -> None:
    recorder.drop_unit = (100.0, "%")
    for quality, speedup, simulated in ((0.85, 4.0, False), (0.895, 3.0, True)):
        recorder.record("full", CUT, quality, speedup=speedup, simulated=simulated)
    assert recorder.best_line() == "none within the limits yet"
    for speedup in (2.0, 1.5):
        recorder.record("full", CUT, 0.895, speedup=speedup, size_bytes=500, simulated=False)
    assert recorder.best_line() == "x2.00, 500 B at drop +0.50% (trial 2)"
    last = recorder.events[-1]  # type: ignore[attr-defined]
    assert (last["stage"], last["trial"], last["best"]) == ("full", 3, recorder.best_line())
    assert 59.0 < last["seconds_left"] <= 60.0
