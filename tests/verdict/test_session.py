"""A file that is called with what comes: arrays or tensors, few samples or many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from files import SETTINGS, network, saved
from test_file_net import Two

from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware.targets import get
from whet.verdict.session import MOST_OPEN, FileSession


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_arrays_give_arrays_and_tensors_give_tensors_for_any_batch(tmp_path: Path, runtime: str) -> None:
    session = FileSession(Artifact(saved(tmp_path, network()), SETTINGS | {"runtime": runtime}), get("cpu"))
    for rows in (1, 3, 1):
        x = torch.randn(rows, 8)
        with torch.no_grad():
            wanted = network()(x)
        torch.testing.assert_close(session(x), wanted, rtol=1e-4, atol=1e-5)
        found = session(x.double().numpy())
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_several_outputs_are_a_tuple_and_another_number_of_inputs_is_told(tmp_path: Path) -> None:
    example = torch.zeros(2, 8), torch.zeros(2, 8)
    session = FileSession(Artifact(saved(tmp_path, Two(), example), SETTINGS), get("cpu"))
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    for found, wanted in zip(session(x, y), Two()(x, y), strict=True):
        torch.testing.assert_close(found, wanted)
    with pytest.raises(TargetError, match=r"takes 2 inputs, x, y; got 1"):
        session(x)


def test_few_shapes_are_kept_open(tmp_path: Path) -> None:
    session = FileSession(Artifact(saved(tmp_path, network()), SETTINGS), get("cpu"))
    for rows in range(1, MOST_OPEN + 3):
        session(np.zeros((rows, 8), np.float32))
    assert len(session._open) == MOST_OPEN
