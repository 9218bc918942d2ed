"""What peers are given, and how they hand files back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from whet.bench.peers.work import Delivered, Work, as_arrays
from whet.core.errors import TaskError


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work("digits", "digits_cnn", "", str(tmp_path), seconds=20.0, max_drop=0.01, threads=1)


def test_files_come_back_in_the_order_they_were_handed_in_with_their_time(work: Work, tmp_path: Path) -> None:
    assert work.delivered() == []
    work.started -= 5.0
    work.deliver("first", tmp_path / "a.onnx", "openvino")
    work.deliver("second", tmp_path / "b.onnx", "onnxruntime", "f32", "a note", tmp_path / "b.zip")
    first, second = work.delivered()
    assert (first.name, first.precision, first.stored) == ("first", None, "") and 5.0 <= first.seconds < 20.0
    assert (second.runtime, second.note, second.stored) == ("onnxruntime", "a note", str(tmp_path / "b.zip"))
    assert 14.0 < work.seconds_left <= 15.0


def test_an_order_is_what_was_written(work: Work, tmp_path: Path) -> None:
    written = work.write(tmp_path / "work.json")
    assert Work(**json.loads(written.read_text())) == work


def test_each_file_has_a_folder_of_its_own(work: Work) -> None:
    place = work.place("50% off, int8/mixed", ".xml")
    assert place.name == "model.xml" and place.parent.is_dir() and place.parent.name == "50%-off,-int8-mixed"


def test_random_networks_are_the_same_each_time_and_cannot_be_scored(tmp_path: Path) -> None:
    work = Work("latency", "encoder", "", str(tmp_path), 1.0, 0.01, 1)
    (one, (x,)), (other, _) = work.module(), work.module()
    assert x.shape == (2, 128, 64) and work.is_transformer
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert [row[0].shape[0] for row in work.calibration()] == [1, 1]
    with pytest.raises(TaskError, match="nothing to train or to score"):
        work.bundle  # noqa: B018


def test_calibration_samples_come_one_by_one_up_to_a_number(work: Work) -> None:
    samples = list(work.calibration(130))
    assert len(samples) == 130 and all(len(x) == 1 for (x,) in samples)
    assert as_arrays(samples[0])[0].shape == (1, 1, 8, 8)


def test_a_larger_score_is_better_whatever_the_metric(work: Work) -> None:
    batches = [(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1]))]
    right = work.score(lambda x: torch.eye(2)[[0, 0, 0, 0]], batches)
    assert right == pytest.approx(0.75)
    work._bundle = replace(work.bundle, task=replace(work.bundle.task, direction="min"))
    assert work.score(lambda x: torch.eye(2)[[0, 0, 0, 0]], batches) == pytest.approx(1 / 0.75)


def test_a_hint_of_precision_is_optional() -> None:
    assert Delivered("x", "m.onnx", "openvino").precision is None
