"""Where time goes is told layer by layer: what converts is charged to the layers that it serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from whet.hardware.profile import Operation, charged, layer_times, nodes_of_layers, quickest


def test_what_is_no_layer_is_shared_by_those_it_serves() -> None:
    # in -> convert -> a -> add -> (b, c);  c -> out
    operations = [
        Operation("in", (), (1,)), Operation("convert", ("x",), (2,)), Operation("A", ("a_out/fused", "relu"), (3,)),
        Operation("add", ("add",), (4, 5)), Operation("B", ("b_out",), ()), Operation("C", ("c_out",), (6,)),
        Operation("out", (), ()),
    ]  # fmt: skip
    times = {"in": 1.0, "convert": 2.0, "A": 10.0, "add": 6.0, "B": 20.0, "C": 30.0, "out": 4.0}
    found = charged(operations, times, {"a_out": "a", "b_out": "b", "c_out": "c"}, ["a", "b", "c", "norm"])
    assert found == {"a": 13.0, "b": 23.0, "c": 37.0, "norm": 0.0}
    assert sum(found.values()) == sum(times.values())


def test_the_quickest_quarter_counts() -> None:
    times = [{"a": t} for t in (5.0, 1.0, 9.0, 2.0, 7.0, 8.0, 6.0, 9.0)]
    assert quickest(times) == {"a": 1.5}


def test_nodes_are_told_by_the_weights_that_they_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["a.b.weight.int8", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["product"], name="first"),
        helper.make_node("Add", ["product", "a.b.bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["relu"]),
        helper.make_node("MatMul", ["relu", "w"], ["again"]),
        helper.make_node("Add", ["scale", "again"], ["shifted"]),
        helper.make_node("Add", ["shifted", "sum"], ["both"]),
        helper.make_node("Mul", ["relu", "scale"], ["y"]),
    ]
    tensors = [
        helper.make_tensor("a.b.weight.int8", TensorProto.INT8, [2, 2], [1] * 4),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", TensorProto.INT8, [], [0]),
        helper.make_tensor("a.b.bias", TensorProto.FLOAT, [2], [1.0, 1.0]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(path))
    assert nodes_of_layers(path, ["a", "a.b"]) == {
        "first": "a.b", "product": "a.b", "sum": "a.b", "again": "a.b", "shifted": "a.b",
    }  # fmt: skip


def test_a_runtime_that_tells_nothing_is_not_asked(tmp_path: Path) -> None:
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    assert layer_times({"a": tmp_path / "missing.onnx"}, settings, ["a"], [np.zeros((1, 2), np.float32)]) is None
    with pytest.raises(KeyError):
        layer_times({}, {}, [], [])
