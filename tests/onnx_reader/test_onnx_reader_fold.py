"""Folding: what is known is computed once, branches that are known are taken, names go with the values."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import LiftError
from whet.onnx_reader import fold as folding
from whet.onnx_reader.fold import check_operators, drop_unread, fold, prune, quantization, walk
from whet.onnx_reader.graph import Body, Graph, Step
from whet.onnx_reader.values import NotRead


def graph(steps: list[Step], constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)) -> Graph:
    return Graph(Body(["x"], list(outputs), steps), constants, [])


def test_the_known_part_is_computed_and_let_go_under_the_name_of_the_file() -> None:
    steps = [
        Step("Transpose", "turn", ["fc.weight"], ["t"], {"perm": [1, 0]}), Step("MatMul", "mm", ["x", "t"], ["y"]),
        Step("Neg", "unread", ["fc.weight"], ["n"]),
    ]  # fmt: skip
    made = graph(steps, {"fc.weight": np.arange(6.0).reshape(2, 3)})
    folded = fold(made)
    assert [s.op for s in made.body.steps] == ["MatMul"] and made.constants["t"].shape == (3, 2)
    assert folded.source("t") == "fc.weight" and "fc.weight" not in made.constants


def test_a_known_branch_takes_the_place_of_its_if() -> None:
    bodies = {"then_branch": Body([], ["r"], [Step("Relu", "r", ["x"], ["r"])]), "else_branch": Body([], ["x"], [])}
    for condition, ops, out in ((True, ["Relu"], "r"), (False, [], "x")):
        made = graph([Step("If", "if", ["is"], ["y"], bodies=dict(bodies))], {"is": np.array(condition)})
        fold(made)
        assert [s.op for s in made.body.steps] == ops and made.body.outputs == [out]
    with pytest.raises(LiftError, match="has no else_branch"):
        fold(graph([Step("If", "if", ["is"], ["y"], bodies={})], {"is": np.array(False)}))


def test_a_constant_that_would_grow_beyond_a_limit_stays_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "LARGE", 10)
    steps = [Step("ConstantOfShape", "big", ["n"], ["z"]), Step("Add", "add", ["x", "z"], ["y"])]
    made = graph(steps, {"n": np.array([100])})
    fold(made)
    assert [s.op for s in made.body.steps] == ["ConstantOfShape", "Add"]


def test_how_a_weight_was_stored_goes_with_it() -> None:
    constants = {"q": np.array([[1, -2]], np.int8), "s": np.array(0.5, np.float32), "z": np.array(0, np.int8)}
    steps = [
        Step("DequantizeLinear", "dq", ["q", "s", "z"], ["w"], {"axis": 0}),
        Step("Transpose", "t", ["w"], ["turned"]), Step("MatMul", "m", ["x", "turned"], ["y"]),
    ]  # fmt: skip
    folded = fold(graph(steps, dict(constants)))
    assert folded.stored["turned"].dtype == "int8" and folded.stored["turned"].axis == 0
    assert quantization(Step("QuantizeLinear", "q", ["x", "s"], ["y"]), constants).dtype == "uint8"


def test_steps_that_lead_nowhere_and_constants_that_nobody_reads_go() -> None:
    inner = Body([], ["i"], [Step("Relu", "i", ["k"], ["i"])])
    made = graph([Step("Loop", "l", ["x"], ["y"], bodies={"body": inner}), Step("Neg", "n", ["x"], ["z"])], {})
    assert [s.op for s in prune(made.body)] == ["Loop"] and [s.op for s in walk(made.body)] == ["Loop", "Relu", "Neg"]
    made.constants = {"k": np.ones(1), "gone": np.ones(1)}
    drop_unread(made)
    assert set(made.constants) == {"k"}


def test_operators_without_a_row_are_counted_with_a_reason_or_a_neighbour() -> None:
    steps = [
        Step("Softmaxx", "a", ["x"], ["y"]),
        Step("RandomNormal", "b", [], ["z"]),
        Step("Softmaxx", "c", ["y"], ["w"]),
    ]
    with pytest.raises(
        NotRead, match=r"f: node 'a' needs .*Softmaxx \(2x: did it mean 'Softmax'\?\), RandomNormal \(1x: it is random"
    ):
        check_operators(Body([], [], steps), "f")
