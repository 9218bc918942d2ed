"""Transforms spelled out for both runtimes: along the middle of three dimensions, of both halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from whet.hardware.onnx_fourier import spell_out_transforms


def model(op: str, shape: list[Any], inputs: list[str], constants: dict[str, Any], **attributes: int) -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph([helper.make_node(op, inputs, ["y"], **attributes)], "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


CASES = {
    "along an axis": ([2, 6, 3, 1], ["x", "", "axis"], {"axis": np.array(1)}, {}),
    "one half": ([2, 3, 6, 1], ["x", "", "axis"], {"axis": np.array(2)}, {"onesided": 1}),
    "back": ([2, 6, 2], ["x", "", "axis"], {"axis": np.array(1)}, {"inverse": 1}),
}


@pytest.mark.parametrize(("shape", "inputs", "constants", "attributes"), CASES.values(), ids=CASES)
def test_what_is_spelled_out_computes_the_same(shape: Any, inputs: Any, constants: Any, attributes: Any) -> None:
    before = model("DFT", shape, inputs, constants, **attributes)
    made = onnx_ir.from_proto(before)
    spell_out_transforms(made.graph)
    kinds = [node.op_type for node in made.graph]
    assert kinds.count("DFT") == 1 and {"Transpose", "Reshape"} <= set(kinds)
    inner = next(node for node in made.graph if node.op_type == "DFT")
    assert inner.attributes["onesided"].as_int() == 0
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (wanted,), (found,) = (ReferenceEvaluator(m).run(None, {"x": x}) for m in (before, onnx_ir.to_proto(made)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_frames_are_gathered_and_windowed() -> None:
    constants = {"step": np.array(2), "window": np.hanning(4).astype(np.float32), "length": np.array(4)}
    before = model("STFT", [2, 10, 1], ["x", "step", "window", "length"], constants)
    made = onnx_ir.from_proto(before)
    spell_out_transforms(made.graph)
    assert "STFT" not in {node.op_type for node in made.graph}
    x = np.random.default_rng(0).standard_normal((2, 10, 1)).astype(np.float32)
    (wanted,), (found,) = (ReferenceEvaluator(m).run(None, {"x": x}) for m in (before, onnx_ir.to_proto(made)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_free_length_stays_as_it_is() -> None:
    made = onnx_ir.from_proto(model("DFT", [2, "samples", 1], ["x", "", "axis"], {"axis": np.array(1)}))
    spell_out_transforms(made.graph)
    assert [node.op_type for node in made.graph] == ["DFT"]
