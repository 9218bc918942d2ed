"""The files of candidates: timed once for equal costs, removed again, and finished in passing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import latency, made

import whet
from whet.core.passes import Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.flow import files as module
from whet.flow.files import TIMED_SAMPLES, Files
from whet.flow.folder import Folder
from whet.flow.stopwatch import Stopwatch
from whet.schedule.actions import Finishers

INT8, OTHER = Decision({"network:int8": "all"}), Decision({"network:int8": "asymmetric"})


class Finisher:
    """Stands in for int8: remembers the runs that it was applied in."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def apply(self, net: whet.Net, decision: Decision, run: Run) -> Result:
        self.runs.append(run)
        return Result(replace(net.copy(), name="finished"))


def save(net: whet.Net, folder: Path) -> Path:
    """Write 9 bytes for a finished network, 30 for another."""
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    path.write_bytes(b"x" * (9 if net.name == "finished" else 30))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    net, task = made()
    request = SimpleNamespace(
        target=SimpleNamespace(save=save), finishers=(Finisher(),), net=net, task=task, out=tmp_path
    )
    with closing(Folder(tmp_path)) as folder:
        found = Files(request, Run(task, request.target), folder, Stopwatch())  # type: ignore[arg-type]
        found.asked = []  # type: ignore[attr-defined]

        def timing(paths: dict[str, Path], seconds: float) -> Any:
            """Find the last of the files the fastest."""
            found.asked.append(list(paths))  # type: ignore[attr-defined]
            return SimpleNamespace(latency=latency("x", 2.0), settings={"threads": 1}, how=list(paths)[-1])

        found.timing = timing  # type: ignore[assignment]
        yield found


def test_what_costs_the_same_is_timed_once_and_nothing_stays_behind(files: Files) -> None:
    net = files.request.net
    found = files.time_net(net, None)
    assert files.time_net(net.copy(), None) is found and files.asked == [["as it is"]]  # type: ignore[attr-defined]
    assert (found["size_bytes"], found["note"], found["latency"].ratio) == (30, "timed as it is", 2.0)
    files.time_net(made(width=16)[0], None)
    assert len(files.asked) == 2 and not files.folder.scratch.exists()  # type: ignore[attr-defined]


def test_a_candidate_is_as_fast_as_the_faster_of_its_two_forms(files: Files) -> None:
    net = files.request.net
    both, alone = files.time_net(net, Finishers(INT8)), Finishers(OTHER, alone=True)
    assert both["size_bytes"] == 9, "of the form that was the fastest"
    assert both["note"].startswith("timed with int8")
    files.time_net(net, alone)
    assert [len(names) for names in files.asked] == [2, 1] and "as it is" not in files.asked[1]  # type: ignore[attr-defined]


def test_what_is_only_timed_is_finished_on_a_few_samples(files: Files) -> None:
    files.time_net(files.request.net, Finishers(INT8))
    [run] = files.request.finishers[0].runs  # type: ignore[attr-defined]
    [((inputs,), targets)] = run.task.calibration
    assert inputs.shape == (TIMED_SAMPLES, 8) and targets is None
    assert files.run.task.calibration is None, "others calibrate on what there is"


def test_what_could_not_be_timed_leaves_no_file(files: Files) -> None:
    def broken(paths: Any, seconds: float) -> Any:
        raise whet.WhetError("no kernel")

    files.timing = broken  # type: ignore[assignment]
    with pytest.raises(whet.WhetError):
        files.time_net(files.request.net, None)
    assert not files.folder.scratch.exists()


def test_a_size_is_told_without_a_file_and_files_are_listed_before_they_are_written(files: Files) -> None:
    assert files.size_of(files.request.net) == 30 and not files.folder.scratch.exists()
    files.claim(files.request.out / "trials" / "3")
    assert files.folder.files() == ["trials/3/model.onnx", "trials/3/model.data"]


@pytest.mark.parametrize(("brief", "seconds"), [(True, "CANDIDATE_SECONDS"), (False, "FINISHED_SECONDS")])
def test_a_finished_file_is_timed_for_longer(files: Files, brief: bool, seconds: str) -> None:
    seen: list[float] = []

    def timing(paths: dict[str, Path], for_seconds: float) -> Any:
        seen.append(for_seconds)
        return SimpleNamespace(latency=latency("x", 1.1), settings={"threads": 2})

    files.timing = timing  # type: ignore[assignment]
    assert files.time_file(Path("model.onnx"), brief)[1] == {"threads": 2} and seen == [getattr(module, seconds)]
