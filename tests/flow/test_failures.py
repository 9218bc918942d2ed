"""One bad candidate never ends a run, wherever it fails."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from quick import latency, search, untimed

from whet.core.errors import StudyError, TargetError, TrainingError
from whet.core.study import Trial
from whet.flow.builder import Builder
from whet.flow.evaluator import Evaluator
from whet.flow.failures import Attempt, reason
from whet.flow.files import Files
from whet.schedule.history import IN_A_ROW
from whet.train.fit import FitReport

OPTIONS: dict[str, Any] = {"trials": 3, "epochs": 2.0, "passes": ("width", "quantize")}


def trials(out: Path) -> list[Trial]:
    import json

    import optuna

    study = optuna.load_study(study_name="whet", storage=f"sqlite:///{out / 'study.db'}")
    assert all(t.values is None for t in study.trials if t.state is optuna.trial.TrialState.FAIL)
    records = [json.loads(t.user_attrs["trial"]) for t in study.trials]
    return [Trial(**r) for r in records]


@pytest.mark.parametrize(
    ("owner", "place", "error", "attempted"),
    [
        (Builder, "structure", IndexError("index 3 is out of bounds"), {"probe", "short", "full"}),
        (Builder, "finish", RuntimeError("no kernel"), {"full"}),
        (Files, "save", TargetError("cannot be written as ONNX"), {"full"}),
        (Files, "time_net", MemoryError(), {"probe", "short", "full"}),
        (Files, "time_file", TargetError("the runtime crashed (signal SIGSEGV)"), {"full"}),
        (Evaluator, "train", TrainingError("the loss was nan at step 1"), {"short", "full"}),
        (Evaluator, "quick", ZeroDivisionError("of the metric"), {"probe", "short", "full"}),
        (Builder, "recalibrated", ValueError("of the loader"), {"probe", "short", "full"}),
    ],
)
def test_a_candidate_that_fails_anywhere_is_a_failed_trial(
    tmp_path: Path, owner: type, place: str, error: Exception, attempted: set[str]
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    def slower(self: Files, path: Path, brief: bool = False) -> Any:
        return latency("x", 1.2), self.timing.settings[0]

    with untimed() as patch:
        patch.setattr(Files, "time_file", slower)  # than the candidates, so that one of them is trained
        patch.setattr(owner, place, fail)
        front = search(tmp_path / "r", **OPTIONS)
    found = trials(tmp_path / "r")
    failed = [t for t in found if t.stage == "failed"]
    assert failed and all(t.note == reason(error) for t in failed)
    assert {t.attempted for t in failed} <= attempted
    assert len({(t.attempted, str(t.decision), t.parent) for t in failed}) == len(failed), "none is tried twice"
    assert front.fastest() is not None and reason(error).rstrip(".") in front.conclusion
    assert reason(error).split(":")[0] in front.report.read_text(encoding="utf-8")
    assert type(error).__name__ in (tmp_path / "r/.whet/failures.log").read_text(encoding="utf-8")


def test_one_failure_of_many_leaves_the_others_and_a_resumed_search_does_not_repeat_it(tmp_path: Path) -> None:
    calls: list[int] = []
    train = Evaluator.train

    def first(*args: Any, **options: Any) -> FitReport:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("only the first")
        return train(*args, **options)

    with untimed() as patch:
        patch.setattr(Evaluator, "train", first)
        front = search(tmp_path / "r", **OPTIONS)
        kinds = [t.stage for t in trials(tmp_path / "r")]
        assert kinds.count("failed") == 1 and kinds.count("short") >= 1 and "full" in kinds
        assert front.fastest() is not None and front.met
        search(tmp_path / "r", **OPTIONS)
        assert [t.stage for t in trials(tmp_path / "r")] == kinds


def test_a_search_in_which_everything_fails_ends(tmp_path: Path) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("every time")

    with untimed() as patch:
        patch.setattr(Builder, "structure", fail)
        front = search(tmp_path / "r", **{**OPTIONS, "trials": 50, "passes": ("width",)})
    assert len(trials(tmp_path / "r")) <= IN_A_ROW + 1
    assert front.conclusion.startswith("No candidate was finished")


@pytest.mark.parametrize(
    "error", [StudyError("cannot be written"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), SystemExit(3)]
)
def test_what_ends_the_run_is_no_candidates_failure(error: BaseException) -> None:
    with pytest.raises(type(error)), Attempt(lambda error: pytest.fail("it was taken for a candidate's")):
        raise error
