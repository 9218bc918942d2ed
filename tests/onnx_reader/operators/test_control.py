"""Branches and loops: followed where they are known, refused where data steers them."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.core.errors import LiftError
from whet.onnx_reader.graph import Body, Step
from whet.onnx_reader.operators.control import MOST_ITERATIONS, stacked
from whet.onnx_reader.values import DependsOnData, NotRead


def adds(inputs: list[str], outputs: list[str], total: str = "sum") -> Body:
    """A graph that adds its last two inputs."""
    return Body(inputs, outputs, [Step("Add", "add", inputs[-2:], [total])])


def test_the_branch_of_a_known_condition_is_taken() -> None:
    bodies = {
        "then_branch": Body([], ["y"], [Step("ConstantOfShape", "c", ["two"], ["y"])]),
        "else_branch": Body([], [""], []),
    }
    assert row("If", np.array(False), bodies=bodies) == (None,)
    with pytest.raises(DependsOnData, match=r"its condition depends on the network's input.*--fix NAME=VALUE"):
        row("If", torch.tensor(True), bodies=bodies)


def test_a_loop_carries_its_state_and_collects() -> None:
    body = Body(["i", "go", "state"], ["go", "sum", "sum"], [Step("Add", "add", ["state", "i"], ["sum"])])
    state, seen = row("Loop", known(4), np.array(True), known(10), bodies={"body": body}, outputs=2)
    assert state.tolist() == [16] and seen.tolist() == [[10], [11], [13], [16]]


def test_a_loop_without_an_end_is_refused() -> None:
    body = Body(["i", "go", "state"], ["go", "state"], [])
    with pytest.raises(NotRead, match=f"more than {MOST_ITERATIONS} iterations"):
        row("Loop", None, np.array(True), known(0), bodies={"body": body})
    with pytest.raises(LiftError, match="no iteration, whose shape nobody knows"):
        row("Loop", known(0), None, bodies={"body": Body(["i", "go"], ["go", "i"], [])})


def test_a_scan_runs_along_an_axis_and_backwards() -> None:
    x = t([1.0, 2.0, 3.0], [10.0, 20.0, 30.0])
    body = adds(["state", "x"], ["sum", "sum"])
    last, seen = row("Scan", torch.zeros(2), x, num_scan_inputs=1, scan_input_axes=[1], bodies={"body": body})
    assert last.tolist() == [6.0, 60.0] and seen[:, 0].tolist() == [1.0, 3.0, 6.0]
    _, turned = row(
        "Scan", torch.zeros(3), x, num_scan_inputs=1, scan_input_directions=[1], scan_output_directions=[1],
        bodies={"body": body},
    )  # fmt: skip
    assert turned.tolist() == [[11.0, 22.0, 33.0], [10.0, 20.0, 30.0]]


def test_scans_of_unequal_sequences_are_refused() -> None:
    body = adds(["a", "b"], ["sum"])
    with pytest.raises(NotRead, match=r"sequences of lengths \[2, 3\]"):
        row("Scan", torch.zeros(2), torch.zeros(3), num_scan_inputs=2, bodies={"body": body})


def test_a_map_goes_over_items_with_others_beside_them() -> None:
    (found,) = row(
        "SequenceMap", [t([1.0]), t([2.0])], [t([10.0]), t([20.0])], bodies={"body": adds(["a", "b"], ["sum"])}
    )
    assert [x.tolist() for x in found] == [[11.0], [22.0]]


def test_known_results_stay_known() -> None:
    assert isinstance(stacked([known(1), known(2)]), np.ndarray)
    assert isinstance(stacked([known(1), t([2])]), torch.Tensor)
