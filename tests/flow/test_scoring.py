"""Nets are scored on as few samples as it takes, files once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from quick import made

import whet
from whet.core.target import Artifact
from whet.flow import scoring
from whet.flow.scoring import Scores
from whet.train.recipe import Recipe


def clock(what: str) -> AbstractContextManager[None]:
    return nullcontext()


def scores(**changes: Any) -> tuple[Scores, whet.Net]:
    net, task = made()
    request: Any = SimpleNamespace(net=net, task=replace(task, **changes), recipe=Recipe(precision="f32"), target=None)
    return Scores(request, Path("uncompressed"), clock), net


def broken(net: whet.Net) -> whet.Net:
    copied = net.copy()
    for parameter in copied.module.parameters():
        torch.nn.init.zeros_(parameter)
    return copied


@pytest.mark.parametrize(("limit", "rows"), [(None, 128), (0.01, 32), (0.5, 128)])
def test_few_samples_are_enough_for_what_is_far_beyond_the_limit(
    limit: float | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "FAR", ((32, 5.0),))
    seen: list[int] = []

    def metric(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        seen.append(len(targets))
        return whet.accuracy(outputs, targets)

    found, net = scores(metric=metric)
    quality, reference = found.net(broken(net), limit)
    assert seen[-1] == rows and seen[-2] == rows  # the net and the original, on the same samples
    assert quality < reference - 0.2


def test_the_original_is_as_good_as_itself_and_its_speed_is_known_afterwards() -> None:
    found, net = scores()
    assert found.original_speed == float("inf")
    quality, reference = found.net(net)
    assert quality == reference == found.reference and 0 < found.original_speed < float("inf")


def test_a_file_runs_over_the_validation_data_once_and_the_original_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def evaluated(opened: Any, batches: Any, batch: int, net: Any) -> Any:
        ran.append(str(opened.args[0].path))
        return torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)

    monkeypatch.setattr(scoring, "evaluate", evaluated)
    monkeypatch.setattr(scoring, "KEPT_OUTPUTS", 2)
    found, _ = scores()
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    target = SimpleNamespace(open=lambda artifact: None, all_settings=lambda: [settings])
    found.request.target = target  # type: ignore[misc]
    for name in ("uncompressed", "a", "a", "uncompressed", "b", "uncompressed", "a"):
        found.file(Artifact(Path(name), settings), found.request.task.val)
    assert ran == ["uncompressed", "a", "b", "a"]
    found.file(Artifact(Path("a"), settings), [*found.request.task.val])  # other data are not taken for the same
    assert ran[-1] == "a" and len(ran) == 5


def test_a_task_that_is_played_is_scored_by_its_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nets in torch, and of files once for each of the validation data and the test data."""
    inputs = next(iter(made()[1].val))[0]

    def play(run: Any, collection: str) -> torch.Tensor:
        return run(inputs)[:4, 0] + (100 if collection == "test" else 0)

    found, net = scores(played=play, test=[0])
    quality, reference = found.net(broken(net))
    assert quality == 0.0 and reference == found.reference == pytest.approx(net(inputs)[:4, 0].mean().item())
    ran: list[str] = []

    def through_the_file(task: Any, opened: Any, collection: str, batch: int, net: Any) -> torch.Tensor:
        ran.append(collection)
        return play(net, collection).detach()

    monkeypatch.setattr(scoring, "played", through_the_file)
    found.request.target = SimpleNamespace(all_settings=lambda: [{"threads": 1}], open=print)
    artifact, task = Artifact(Path("file"), {"runtime": "r", "precision": "f32", "threads": 1}), found.request.task
    for _ in range(2):
        assert found.file(artifact, task.val) == pytest.approx(reference)
        assert found.file(artifact, task.test) == pytest.approx(reference + 100)
    assert ran == ["val", "test"]
