"""Quantized constants are stored as integers, zero points around the middle are taken away, biases keep apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from onnx import TensorProto, helper, numpy_helper

from whet.graph.fake_quantize import ACTIVATION_MIDDLE
from whet.hardware.onnx_integers import store_integers


def stored(nodes: list[Any], constants: dict[str, Any], outputs: str) -> Any:
    """Return the graph of nodes after the steps."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])
    y = helper.make_tensor_value_info(outputs, TensorProto.FLOAT, [2, 3, 4])
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    made = onnx_ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))
    for node in made.graph:
        for value in node.outputs:
            value.shape = onnx_ir.Shape([2, 3, 4])
    store_integers(made.graph)
    return made.graph


def test_a_weight_is_stored_as_the_integers_it_is_rounded_to_symmetric_where_signed() -> None:
    weight = np.array([[0.5, -1.0], [0.26, 9.0]], np.float32)
    constants = {"w": weight, "s": np.array([0.5, 0.01], np.float32), "z": np.zeros(2, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
        helper.make_node("Identity", ["d"], ["y"]),
    ]
    graph = stored(nodes, constants, "y")
    assert [node.op_type for node in graph] == ["DequantizeLinear", "Identity"]
    assert graph.initializers["w.int8"].const_value.numpy().tolist() == [[1, -2], [26, 127]]
    assert "w" not in graph.initializers
    lowest = stored(nodes, {**constants, "w": -weight}, "y").initializers["w.int8"].const_value.numpy()
    assert lowest.min() == -127, "never -128"


def test_activations_around_the_middle_become_signed_around_zero() -> None:
    for middle, kind in ((ACTIVATION_MIDDLE, np.int8), (ACTIVATION_MIDDLE + 1, np.uint8)):
        constants = {"s": np.array(0.1, np.float32), "z": np.array(middle, np.uint8)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
        graph = stored(nodes, constants, "y")
        zeros = {node.inputs[2].const_value.numpy().dtype for node in graph}
        assert zeros == {np.dtype(kind)}


def test_the_bias_of_a_product_of_integers_gets_the_products_rank() -> None:
    constants = {
        "w": np.ones((4, 4), np.int8), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8),
        "b": np.ones(4, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"]),
    ]  # fmt: skip
    graph = stored(nodes, constants, "y")
    assert graph.initializers["b.3d"].const_value.numpy().shape == (1, 1, 4) and "b" not in graph.initializers
    floats = stored(nodes[1:], {"d": np.ones((4, 4), np.float32), "b": constants["b"]}, "y")
    assert "b" in floats.initializers, "a product of floats keeps its vector"
