"""From a protobuf to steps: attributes as Python values, names that are unique, what no standard allows is named."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import floats, info, model_of

from whet.core.errors import LiftError
from whet.onnx_reader.graph import NEWEST, Body, Step, ports_of, read_graph
from whet.onnx_reader.values import NotRead


def read(model: onnx.ModelProto) -> object:
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return read_graph(model, weights, "the file")


def test_attributes_are_python_values_and_constants_are_no_steps() -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value=helper.make_tensor("k", TensorProto.FLOAT, [2], [1.0, 2.0])),
        helper.make_node("Conv", ["x", "w"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[2, 2], group=1),
        helper.make_node("Mul", ["y", "k"], ["z"], "mul"),
    ]
    graph = read(model_of(nodes, {"x": ["batch", 3, 4, 4]}, ["z"], {"w": floats(2, 3, 1, 1)}))
    conv, mul = graph.body.steps  # type: ignore[attr-defined]
    assert conv.attributes == {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 1} and conv.opset == 17
    assert graph.constants["k"].tolist() == [1.0, 2.0] and mul.inputs == ["y", "k"]  # type: ignore[attr-defined]
    assert graph.ports[0].dims == ("batch", 3, 4, 4) and graph.ranks["x"] == 4  # type: ignore[attr-defined]
    assert conv.where == "node 'conv' (Conv)"


def test_weights_are_no_inputs() -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [2], "w": [2]}, ["y"], {"w": floats(2)})
    assert [port.name for port in ports_of(model, {"w"})] == ["x"]


def test_names_inside_of_graphs_are_made_unique() -> None:
    def inner(op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["x"], ["same"])], op, [], [info("same")])

    nodes = [
        helper.make_node("If", ["is"], ["a"], "one", then_branch=inner("Relu"), else_branch=inner("Neg")),
        helper.make_node("Identity", ["a"], ["y"], "last"),
    ]
    graph = read(model_of(nodes, {"x": ["batch", 2], "is": []}, ["y"], kinds={"is": TensorProto.BOOL}))
    bodies = graph.body.steps[0].bodies  # type: ignore[attr-defined]
    names = [body.steps[0].outputs[0] for body in bodies.values()]
    assert len(set(names)) == 2 and [body.outputs for body in bodies.values()] == [[n] for n in names]


@pytest.mark.parametrize(
    ("opset", "kind", "message"),
    [(NEWEST + 1, NotRead, f"7 to {NEWEST} are read"), (None, LiftError, "states no version")],
)
def test_operator_sets_that_are_not_read_are_named(opset: int | None, kind: type, message: str) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"])
    del model.opset_import[:]
    if opset is not None:
        model.opset_import.append(helper.make_opsetid("", opset))
    with pytest.raises(kind, match=message):
        read(model)


def test_what_a_graph_takes_from_outside_is_what_it_does_not_define() -> None:
    body = Body(["a"], ["c", "d"], [Step("Add", "s", ["a", "b"], ["c"])])
    assert body.outer_names() == {"b", "d"}
    assert Step("Loop", "l", ["n", ""], [], bodies={"body": body}).read_names() == {"n", "b", "d"}
