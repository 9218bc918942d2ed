"""Rearranging: what a file wrote for its own batch serves any batch, and orders of pixels are inverse to each other."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.onnx_reader.operators.shape import batched
from whet.onnx_reader.values import NotRead

X = torch.arange(24.0).reshape(2, 3, 4)


def test_sizes_are_known_values() -> None:
    assert row("Shape", X).tolist() == [2, 3, 4] and isinstance(row("Shape", X), np.ndarray)
    assert row("Shape", X, start=1).tolist() == [3, 4] and row("Size", X).item() == 24


def test_zero_keeps_a_size_unless_it_is_allowed() -> None:
    assert row("Reshape", X, known(0, -1)).shape == (2, 12)
    assert row("Reshape", torch.zeros(0, 3), known(3, 0), allowzero=1).shape == (3, 0)


def test_a_fixed_batch_becomes_the_batch_that_is_there() -> None:
    assert batched([1, 3, 8], [5, 24], 1) == [5, 3, 8]
    assert batched([6, 4], [5, 3, 8], 1) == [30, 4]
    assert batched([2, -1], [5, 3], 1) == [2, -1]


def test_dimensions_of_one_go_and_come() -> None:
    x = X[:, None]
    assert row("Squeeze", x).shape == (2, 3, 4) and row("Unsqueeze", X, known(0, -1)).shape == (1, 2, 3, 4, 1)
    with pytest.raises(NotRead, match=r"a squeeze of dimensions \[0\] of the shape \[2, 3, 4\]"):
        row("Squeeze", X, known(0))


def test_parts_of_unequal_size_have_the_rest_last() -> None:
    parts = row("Split", torch.arange(7), outputs=3)
    assert [p.tolist() for p in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.equal(row("Concat", *parts, axis=0), torch.arange(7))
    assert [len(p) for p in row("Split", torch.arange(7), known(5, 2))] == [5, 2]


def test_expanding_never_shrinks_and_tiling_repeats() -> None:
    assert row("Expand", X, known(5, 1, 1, 4)).shape == (5, 2, 3, 4)
    assert row("Expand", known(1, 2), known(2, 1)).tolist() == [[1, 2], [1, 2]]
    assert row("Tile", t([1.0, 2.0]), known(2)).tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space_are_inverse(mode: str) -> None:
    x = torch.randn(1, 8, 2, 3)
    up = row("DepthToSpace", x, blocksize=2, mode=mode)
    assert up.shape == (1, 2, 4, 6)
    assert torch.equal(row("SpaceToDepth", up, blocksize=2, mode=mode), x)
    first = up[0, 0, :2, :2].flatten()
    assert torch.equal(first, x[0, 0::2, 0, 0] if mode == "DCR" else x[0, :4, 0, 0])


def test_flattening_and_turning() -> None:
    assert row("Flatten", X, axis=-1).shape == (6, 4) and row("Flatten", X, axis=0).shape == (1, 24)
    assert row("Transpose", X).shape == (4, 3, 2) and row("Transpose", X.numpy(), perm=[1, 0, 2]).shape == (3, 2, 4)
