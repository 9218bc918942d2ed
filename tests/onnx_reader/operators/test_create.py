"""Tensors made out of sizes, and padding in each of its modes."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.core.errors import LiftError
from whet.onnx_reader.operators.create import MOST_KNOWN, dtype_of
from whet.onnx_reader.values import NotRead


def test_small_arrays_stay_known_and_large_ones_become_data() -> None:
    assert isinstance(row("ConstantOfShape", known(2, 3)), np.ndarray)
    large = row("ConstantOfShape", known(MOST_KNOWN + 1), value=np.array([2], np.int64))
    assert isinstance(large, torch.Tensor) and large.dtype == torch.int64 and large.unique().tolist() == [2]
    with pytest.raises(LiftError, match="would make a tensor of"):
        row("ConstantOfShape", known(1 << 20, 1 << 20))


def test_a_range_ends_before_its_last_number() -> None:
    first, last, step = (np.array(v, np.float32) for v in (1.0, 2.0, 0.25))
    assert row("Range", first, last, step).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert row("Range", *(np.array(v) for v in (5, 1, -2))).tolist() == [5, 3]


def test_diagonals_and_triangles() -> None:
    x = torch.ones(2, 3)
    assert row("EyeLike", x, k=1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert torch.equal(row("Trilu", x, np.array(10**12)), torch.zeros(2, 3))
    assert torch.equal(row("Trilu", x, None, upper=0), x.tril())
    with pytest.raises(NotRead, match="an input of 3 dimensions"):
        row("EyeLike", torch.ones(1, 2, 3))


def test_one_hot_counts_from_the_end_and_ignores_what_lies_outside() -> None:
    found = row("OneHot", t([0, -1, 3], dtype=torch.int64), np.array(3), t([0.0, 5.0]))
    assert found.tolist() == [[5, 0, 0], [0, 0, 5], [0, 0, 0]]


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_modes_of_padding_are_numpys(mode: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = row("Pad", torch.from_numpy(x), known(1, 2, 2, 3), mode=mode)
    assert np.array_equal(found.numpy(), np.pad(x, ((1, 2), (2, 3)), mode))  # type: ignore[call-overload]


def test_negative_padding_crops_and_amounts_are_counted() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert row("Pad", x, known(0, -1, 0, 1), np.array(9.0)).tolist() == [[1, 2, 9], [4, 5, 9]]
    assert row("Pad", x, known(1, 0), None, known(-1)).tolist() == [[0, 0, 1, 2], [0, 3, 4, 5]]
    with pytest.raises(NotRead, match="3 amounts of padding for 2 dimensions"):
        row("Pad", x, known(1, 2, 3))


def test_of_an_odd_difference_the_larger_half_is_at_the_end() -> None:
    assert row("CenterCropPad", torch.arange(5.0), known(2)).tolist() == [1, 2]
    assert row("CenterCropPad", torch.ones(2), known(5)).tolist() == [0, 1, 1, 0, 0]


def test_types_that_torch_lacks_are_named() -> None:
    assert dtype_of(1) == torch.float32
    with pytest.raises(NotRead, match="element type INT4 is not read"):
        dtype_of(22)
