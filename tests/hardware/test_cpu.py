"""What the CPU runtimes share: sessions that copy, one telling line of an error, and what a file says of its inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from whet.core.errors import ArtifactError, TargetError
from whet.hardware.cpu import SHAPES, BoundSession, first_line, inputs_of_model, read_onnx, recorded_shapes, refusing


def test_a_session_copies_in_and_out_and_checks_shapes() -> None:
    bound = np.zeros((2, 3), np.float32)
    kept = np.zeros((2, 3), np.float32)

    def infer() -> list[np.ndarray]:
        kept[:] = 2 * bound
        return [kept]

    session = BoundSession([bound], infer)
    x = np.ones((2, 3), np.float32)
    first = session(x)
    second = session(3 * x)
    assert first.max() == 2 and second.max() == 6, "a later call leaves earlier outputs alone"
    with pytest.raises(TargetError, match="takes 1 inputs; got 2"):
        session(x, x)
    with pytest.raises(TargetError, match=r"opened for shape \(2, 3\); got \(1, 3\)"):
        session(x[:1])
    two = BoundSession([bound], lambda: [kept, "label"])(x)
    assert isinstance(two, tuple) and two[1] == "label"


def test_what_a_runtime_throws_is_one_telling_line() -> None:
    told = "Exception from src/core.cpp:10:\nCheck 'x' failed at here:\nOp Frobnicate is not supported\nat node 3\nmore"
    assert first_line(RuntimeError(told)) == "Op Frobnicate is not supported at node 3"
    assert first_line(RuntimeError("")) == "RuntimeError" and len(first_line(RuntimeError("x" * 999))) == 300
    with pytest.raises(TargetError, match="cannot load 'm': boom"), refusing(TargetError, "cannot load 'm'"):
        raise ValueError("boom")
    with pytest.raises(ArtifactError, match="as it is"), refusing(TargetError, "cannot load"):
        raise ArtifactError("as it is")


def model(*inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", list(inputs), [out], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "?", 3])


def test_weights_among_the_inputs_are_left_out_and_a_question_mark_names_nothing() -> None:
    own = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3])
    (found,) = inputs_of_model(model(X, own), "m")
    assert (found.name, found.dims, found.dtype) == ("x", ("batch", None, 3), np.dtype("f4"))
    with pytest.raises(TargetError, match="m: input 's' is a sequence, an optional or a map"):
        inputs_of_model(model(X, helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)), "m")
    with pytest.raises(TargetError, match="input 'z' has no shape in the file"):
        inputs_of_model(model(X, helper.make_tensor_value_info("z", TensorProto.FLOAT, None)), "m")


def test_sizes_on_record_are_whets_own_alone() -> None:
    noted = model(X)
    assert recorded_shapes(noted) == {}
    noted.metadata_props.add(key=SHAPES, value=json.dumps({"x": ["batch", 5, 3]}))
    assert recorded_shapes(noted) == {"x": ["batch", 5, 3]}


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    for name, data, message in (
        ("gone.onnx", None, "does not exist"), ("empty.onnx", b"", "is empty"), ("text.onnx", b"no model", "truncated"),
    ):  # fmt: skip
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ArtifactError, match=message):
            read_onnx(tmp_path / name)
