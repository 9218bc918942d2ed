"""The module of a graph: constants where they are wanted, inputs counted, axes that stay free."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_files import floats, model_of, saved

from whet.core.errors import LiftError
from whet.onnx_reader import read


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = (x reshaped by its own size) x trained + a buffer of constants."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("Mul", ["a", "block.gamma"], ["b"]), helper.make_node("Add", ["b", "onnx::Add_3"], ["y"]),
    ]  # fmt: skip
    weights = {"block.gamma": floats(4), "onnx::Add_3": floats(4, seed=1)}
    model = model_of(nodes, {"x": ["batch", "time", 4]}, ["y"], weights)
    return saved(model, tmp_path_factory.mktemp("module") / "m.onnx")


def test_forward_has_the_names_of_the_file_and_axes_beside_the_batch_stay_free(path: Path) -> None:
    module, _ = read(path, torch.ones(2, 3, 4))
    assert list(inspect.signature(module.forward).parameters) == ["x"]
    assert module.free_names == [{1: "time"}] and module.batch_axes == (0,)
    assert module(torch.ones(5, 7, 4)).shape == (5, 7, 4)


def test_named_constants_train_and_made_up_ones_do_not(path: Path) -> None:
    module, _ = read(path, torch.ones(2, 3, 4))
    assert [n for n, _ in module.named_parameters()] == ["block.gamma"]
    (buffer,) = (value for _, value in module.named_buffers())
    np.testing.assert_array_equal(buffer.numpy(), floats(4, seed=1))
    assert not module.training


def test_inputs_are_counted(path: Path) -> None:
    module, _ = read(path, torch.ones(2, 3, 4))
    with pytest.raises(LiftError, match="the network has 1 inputs; 2 were given"):
        module.run([torch.ones(1), torch.ones(1)])
