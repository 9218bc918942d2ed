"""A `.tflite` file as a network: what it gives, how its layers look, and what is said of files that are none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import whet
from whet.core.errors import LiftError
from whet.openvino_reader import read

DIGITS = Path(__file__).parent / "digits.tflite"


def test_a_tflite_file_becomes_layers_that_give_what_openvino_gives() -> None:
    table = load_digits()
    images = torch.from_numpy(table.images[:200]).float().unsqueeze(-1) / 16
    net = whet.lift(str(DIGITS))
    assert net.name == "digits" and [port.name for port in net.inputs] == ["image"]
    kinds = [type(layer) for layer in net.layers().values()]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Linear] and net.parameter_count == 8 * 9 * 2 + 16 + 330
    with torch.no_grad():
        found = net(images)
    (theirs,) = (
        ov.Core().compile_model(str(DIGITS), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([images.numpy()]).values()
    )
    np.testing.assert_allclose(found.numpy(), theirs, rtol=1e-3, atol=1e-5)
    assert float((found.argmax(1).numpy() == table.target[:200]).mean()) > 0.75


def test_an_example_may_be_given() -> None:
    _, (example,) = read(DIGITS, torch.zeros(3, 8, 8, 1))
    assert example.shape == (3, 8, 8, 1)
    with pytest.raises(LiftError, match=r"digits\.tflite'"):
        read(DIGITS, torch.zeros(3, 8, 8, 2))


def test_what_is_no_such_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "half.tflite").write_bytes(DIGITS.read_bytes()[:100])
    with pytest.raises(LiftError, match=r"half\.tflite' is damaged, or nothing that OpenVINO reads"):
        read(tmp_path / "half.tflite")
    with pytest.raises(LiftError, match=r"gone\.tflite' does not exist"):
        read(tmp_path / "gone.tflite")


def test_a_module_that_gives_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.onnx_reader import read as read_onnx

    def wrong(path: Path, example: object) -> object:
        module, inputs = read_onnx(path, example)  # type: ignore[arg-type]
        with torch.no_grad():
            next(module.parameters()).neg_()
        return module, inputs

    monkeypatch.setattr(sys.modules["whet.openvino_reader.read"], "read_onnx", wrong)
    with pytest.raises(
        LiftError, match=r"digits\.tflite' is read wrongly: output 0 is [\d.]+ from what OpenVINO gives"
    ):
        read(DIGITS)
