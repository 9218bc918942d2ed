"""ONNX Runtime writes into outputs of a known size, and gives new ones where the size depends on the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from whet.core.errors import TargetError
from whet.hardware.onnxruntime import OnnxRuntime

SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}


def saved(path: Path, op: str, out: list[int | str]) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    kind = TensorProto.INT64 if op == "NonZero" else TensorProto.FLOAT
    y = helper.make_tensor_value_info("y", kind, out)
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_outputs_are_bound_once_their_size_is_known(tmp_path: Path) -> None:
    session = OnnxRuntime().open(saved(tmp_path / "m.onnx", "Neg", ["batch", 3]), SETTINGS, 2)
    x = np.ones((2, 3), np.float32)
    assert [float(session(k * x).max()) for k in (1, 2, 3)] == [-1, -2, -3]
    assert session.infer.binding is not None and session.infer.sizes_stay  # type: ignore[attr-defined]


def test_sizes_that_depend_on_the_data_are_made_anew(tmp_path: Path) -> None:
    session = OnnxRuntime().open(saved(tmp_path / "m.onnx", "NonZero", [2, "found"]), SETTINGS, 2)
    shapes = [session(np.array([[1, k, 0], [0, 0, k]], np.float32)).shape for k in (0, 1, 0, 1)]
    assert shapes == [(2, 1), (2, 3), (2, 1), (2, 3)]
    assert not session.infer.sizes_stay  # type: ignore[attr-defined]


def test_precisions_that_it_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="runs f32 only on a CPU; got 'bf16'"):
        OnnxRuntime().open(tmp_path / "m.onnx", {**SETTINGS, "precision": "bf16"}, 1)
