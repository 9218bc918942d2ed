"""The child process that tries files first."""

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import whet
from whet.core.errors import ArtifactError, TargetError
from whet.core.target import Artifact
from whet.hardware import guard, targets

SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}


@pytest.fixture
def guarded():
    made = guard.Guarded(targets.get("cpu"))
    yield made
    made.close()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    net = whet.lift(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (torch.randn(2, 4),))
    return targets.get("cpu").save(net, tmp_path)


def test_a_sound_file_opens_and_runs(guarded, saved):
    session = guarded.open(Artifact(saved, SETTINGS), 2)
    assert session(np.zeros((2, 4), np.float32)).shape == (2, 3)


def test_a_child_that_was_begun_takes_the_first_file(guarded, saved, monkeypatch):
    guarded.begin()
    monkeypatch.setattr(guard, "_start", None)  # no other is started
    guarded.begin()
    assert guarded.open(Artifact(saved, SETTINGS), 2)(np.zeros((2, 4), np.float32)).shape == (2, 3)


def test_a_runtime_that_dies_is_an_error_and_the_next_file_opens(guarded, saved, monkeypatch):
    start = guard._start

    def doomed():
        child = start()
        os.kill(child.pid, signal.SIGSEGV)
        child.wait()
        return child

    monkeypatch.setattr(guard, "_start", doomed)
    with pytest.raises(TargetError, match=r"crashed \(signal SIGSEGV\)"):
        guarded.open(Artifact(saved, SETTINGS), 1)
    monkeypatch.setattr(guard, "_start", start)
    with pytest.raises(TargetError, match="crashed"):
        guarded.open(Artifact(saved, SETTINGS), 1)
    assert guarded.open(Artifact(saved, SETTINGS), 2)(np.zeros((2, 4), np.float32)).shape == (2, 3)


def test_orderly_failures_are_those_of_the_target(guarded, tmp_path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="no ONNX model"):
        guarded.open(Artifact(broken, SETTINGS), 1)
    with pytest.raises(ArtifactError, match="does not exist"):
        guarded.open(Artifact(tmp_path / "absent.onnx", SETTINGS), 1)


def test_a_file_is_tried_once_for_a_setting_and_batch(guarded, saved, monkeypatch):
    tried = []
    monkeypatch.setattr(guard.Guarded, "_crash", lambda self, order: tried.append(order["batch"]))
    for batch in (1, 1, 2):
        guarded.open(Artifact(saved, SETTINGS), batch)
    assert tried == [1, 2]


def test_the_child_answers_each_order_and_ends_with_its_parent():
    answers = io.StringIO()
    order = json.dumps({"path": "/absent.onnx", "settings": SETTINGS, "batch": 1, "shapes": None}) + "\n"
    guard.serve(io.StringIO(order * 2), answers)
    assert answers.getvalue() == "tried\ntried\n"
