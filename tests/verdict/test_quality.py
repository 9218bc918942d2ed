"""A file's quality is the task's metric of what its runtime computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from files import SETTINGS, network, saved, task

from whet.core.errors import TaskError
from whet.core.target import Artifact
from whet.hardware.targets import get
from whet.verdict.file_net import file_net
from whet.verdict.quality import score

TARGET = get("onnxruntime-cpu")


def test_the_metric_is_taken_over_all_data_of_a_part(tmp_path: Path) -> None:
    artifact = Artifact(saved(tmp_path, network()), SETTINGS)
    found = score(artifact, TARGET, task(network(), 0.8))
    assert (found.metric, found.direction, found.samples) == ("accuracy", "max", 100)
    assert found.value == pytest.approx(0.8)
    both = task(network(), 0.8, test=task(network(), 0.6).val)
    assert score(artifact, TARGET, both, "test").value == pytest.approx(0.6)
    with pytest.raises(TaskError, match="no test data"):
        score(artifact, TARGET, task(network()), "test")


def test_without_labels_quality_is_agreement_with_the_original(tmp_path: Path) -> None:
    artifact, other = (Artifact(saved(tmp_path / str(w), network(w)), SETTINGS) for w in (16, 4))
    inputs = [torch.randn(50, 8)]
    import whet

    unlabelled = whet.Task("inputs alone", None, inputs)
    with pytest.raises(TaskError, match="give that too"):
        score(artifact, TARGET, unlabelled)
    original = file_net(artifact, TARGET)
    same, else_ = (score(a, TARGET, unlabelled, original=original).value for a in (artifact, other))
    assert same == pytest.approx(1.0) and else_ < 0.99


def test_another_session_may_stand_for_the_runtime(tmp_path: Path) -> None:
    artifact, asked = Artifact(saved(tmp_path, network()), SETTINGS), []

    def session(rows: int, shapes: Any) -> Any:
        asked.append((rows, dict(shapes)))
        return TARGET.open(artifact, rows, shapes)

    found = score(artifact, TARGET, task(network(), 0.9), session=session, batch=5)
    assert found.value == pytest.approx(0.9) and [rows for rows, _ in asked] == [5]


def test_a_task_that_is_played_is_judged_by_its_returns(tmp_path: Path) -> None:
    artifact = Artifact(saved(tmp_path, network()), SETTINGS)
    inputs = torch.randn(6, 8)
    played = replace(task(network()), metric_name="return", played=lambda run, part: run(inputs).amax(1))
    found = score(artifact, TARGET, played)
    wanted = file_net(artifact, TARGET)(inputs).amax(1).mean()
    assert (found.metric, found.samples) == ("return", 6)
    assert found.value == pytest.approx(float(wanted), abs=1e-4)
