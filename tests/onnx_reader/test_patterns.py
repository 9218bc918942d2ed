"""Layers that files spell out are put back, unless something else reads a part of them."""

from __future__ import annotations

import numpy as np
import pytest

from whet.onnx_reader.fold import Folded
from whet.onnx_reader.graph import Body, Graph, Step
from whet.onnx_reader.patterns import find_patterns


def found(steps: list[Step], constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)) -> list[Step]:
    graph = Graph(Body(["x"], list(outputs), steps), constants, [], ranks={"x": 3, "d": 3, "s": 3})
    find_patterns(Folded(graph))
    return graph.body.steps


LINEAR = [("MatMul", ["x", "w"], ["p"]), ("Add", ["p", "b"], ["y"])]
W, B = np.ones((4, 3), np.float32), np.ones(3, np.float32)


def steps(*rows: tuple[str, list[str], list[str]]) -> list[Step]:
    return [Step(op, op.lower(), inputs, outputs) for op, inputs, outputs in rows]


def test_a_vector_behind_a_product_is_its_bias() -> None:
    last = found(steps(*LINEAR), {"w": W, "b": B})[-1]
    assert (last.op, last.inputs, last.name) == ("MatMul", ["x", "w", "b"], "matmul")
    turned = found(steps(LINEAR[0], ("Add", ["b", "p"], ["y"])), {"w": W, "b": B})[-1]
    assert turned.op == "MatMul"


@pytest.mark.parametrize("how", ["read twice", "an output", "another length", "a matrix"])
def test_a_product_that_is_needed_by_itself_keeps_its_sum(how: str) -> None:
    bias = {"another length": np.ones(1, np.float32), "a matrix": np.ones((2, 3), np.float32)}.get(how, B)
    more = [("Neg", ["p"], ["n"])] if how == "read twice" else []
    outputs = ("y", "p") if how == "an output" else ("y", "n") if more else ("y",)
    assert found(steps(LINEAR[0], *more, LINEAR[1]), {"w": W, "b": bias}, outputs)[-1].op == "Add"


NORM = (
    ("ReduceMean", ["x"], ["m"]), ("Sub", ["x", "m"], ["d"]), ("Pow", ["d", "two"], ["s"]),
    ("ReduceMean", ["s"], ["v"]),
    ("Add", ["v", "eps"], ["e"]), ("Sqrt", ["e"], ["r"]), ("Div", ["d", "r"], ["n"]), ("Mul", ["n", "scale"], ["g"]),
    ("Add", ["g", "shift"], ["y"]),
)  # fmt: skip
NUMBERS = {"two": np.array(2.0, np.float32), "eps": np.array(1e-3, np.float32), "scale": B, "shift": B}


def normalised(axis: int, **changes: np.ndarray) -> Step:
    made = steps(*NORM)
    for step in made:
        if step.op == "ReduceMean":
            step.attributes = {"axes": [axis], "keepdims": 1}
    return found(made, {**NUMBERS, **changes})[-1]


def test_a_layer_norm_is_seen_with_its_epsilon() -> None:
    last = normalised(-1)
    assert (last.op, last.inputs) == ("LayerNormalization", ["x", "scale", "shift"])
    assert last.attributes["epsilon"] == pytest.approx(1e-3) and normalised(2).op == "LayerNormalization"


def test_over_another_axis_or_with_another_power_it_is_none() -> None:
    assert normalised(1).op == "Add"
    assert normalised(-1, two=np.array(3.0, np.float32)).op == "Add"
