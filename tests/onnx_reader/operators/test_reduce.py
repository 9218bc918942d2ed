"""Reductions: over everything, over nothing, of no elements, of whole numbers."""

import math

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.onnx_reader.operators.reduce import axes_of

X = t([1.0, -2.0], [3.0, -4.0])


def test_axes_are_an_input_an_attribute_or_all() -> None:
    assert axes_of([None, known(-1)], {}, 3) == [2]
    assert axes_of([None], {"axes": [0, 1]}, 3) == [0, 1]
    assert axes_of([None], {}, 3) is None
    assert axes_of([None, known()], {"noop_with_empty_axes": 1}, 3) == []


def test_over_nothing_each_element_is_reduced_by_itself() -> None:
    nothing = {"noop_with_empty_axes": 1}
    assert row("ReduceSum", X, known(), **nothing).tolist() == X.tolist()
    assert row("ReduceL1", X, known(), **nothing).tolist() == X.abs().tolist()
    assert row("ReduceSumSquare", X, known(), **nothing).tolist() == X.square().tolist()


def test_identities_between_the_reductions() -> None:
    axes = known(1)
    torch.testing.assert_close(row("ReduceL2", X, axes) ** 2, row("ReduceSumSquare", X, axes))
    torch.testing.assert_close(row("ReduceLogSumExp", X, axes), row("ReduceLogSum", X.exp(), axes))
    torch.testing.assert_close(row("ReduceMean", X) * 4, row("ReduceSum", X))
    assert row("ReduceProd", X, keepdims=0).item() == 24.0


def test_the_maximum_of_nothing_is_the_least_there_is() -> None:
    empty = torch.zeros(2, 0)
    assert row("ReduceMax", empty, known(1)).tolist() == [[-math.inf], [-math.inf]]
    assert row("ReduceMin", empty.to(torch.uint8), known(1), keepdims=0).tolist() == [255, 255]
    assert row("ReduceMax", torch.tensor([[True, False]]), known(1)).tolist() == [[True]]


def test_the_mean_of_whole_numbers_is_whole() -> None:
    assert row("ReduceMean", t([1, 4], dtype=torch.int32)).tolist() == [2]


def test_sizes_stay_known() -> None:
    found = row("ReduceProd", known(2, 3, 4), keepdims=0)
    assert isinstance(found, np.ndarray) and found.item() == 24 and found.dtype == np.int64


def test_the_first_or_the_last_of_equal_extrema() -> None:
    x = t([[3.0, 1.0, 3.0]])
    assert row("ArgMax", x, axis=1).item() == 0
    assert row("ArgMax", x, axis=1, select_last_index=1).item() == 2
    assert row("ArgMin", x, axis=1, keepdims=0).tolist() == [1]


@pytest.mark.parametrize(("exclusive", "reverse", "wanted"), [(0, 0, [1, 3, 6]), (1, 0, [0, 1, 3]), (1, 1, [5, 3, 0])])
def test_running_sums_leave_out_their_own_or_run_backwards(exclusive: int, reverse: int, wanted: list[int]) -> None:
    found = row("CumSum", t([1.0, 2.0, 3.0]), np.array(0), exclusive=exclusive, reverse=reverse)
    assert found.tolist() == wanted
    assert row("CumProd", t([2.0, 3.0]), np.array(0), exclusive=1).tolist() == [1, 2]
