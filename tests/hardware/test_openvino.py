"""OpenVINO: its own format tells its inputs, and what makes it die is told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from whet.core.errors import ArtifactError
from whet.hardware.openvino import OpenVINO, core, inputs_of_file, ov
from whet.hardware.standalone import _joins_matrices, openvino_options


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str]) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 1.0, 1.0])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


RESIDUAL = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["x", "a"], ["y"])]


def test_sums_of_matrices_are_told_from_those_of_images(tmp_path: Path) -> None:
    matrix = saved(tmp_path / "matrix.onnx", RESIDUAL, ["batch", 3])
    image = saved(tmp_path / "image.onnx", RESIDUAL, ["batch", 3, 4, 4])
    plain = saved(tmp_path / "plain.onnx", [helper.make_node("Relu", ["x"], ["y"])], ["batch", 3])
    models = [core().read_model(str(p)) for p in (matrix, image, plain)]
    assert [_joins_matrices(model) for model in models] == [True, False, False]
    alone = [openvino_options(model, {"precision": "f32", "threads": 1}) for model in models]
    assert ["SNIPPETS_MODE" in options for options in alone] == [True, False, False]
    settings = {"runtime": "openvino", "precision": "f32", "threads": 1}
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    np.testing.assert_allclose(OpenVINO().open(matrix, settings, 1)(x), [[2.0, -2.0, 6.0]])


def test_its_own_format_has_a_file_of_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    ov.save_model(core().read_model(str(saved(tmp_path / "m.onnx", nodes, ["batch", 3]))), path)
    (found,), recorded = inputs_of_file(path)
    assert (found.name, found.dims, found.dtype) == ("x", (None, 3), np.dtype("f4")) and recorded == {}
    path.with_suffix(".bin").unlink()
    with pytest.raises(ArtifactError, match=r"model\.bin' does not exist"):
        inputs_of_file(path)
