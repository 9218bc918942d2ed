"""Rules of transforms and windows: what is mixed is frozen, what is laid out again keeps its label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ruled import Ruled

aten = torch.ops.aten
torch.manual_seed(0)


def test_a_transform_freezes_what_it_runs_along_alone() -> None:
    ruled = Ruled(aten.fft_rfft.default, torch.randn(2, 6), None, 1)
    assert ruled.labels.frozen(ruled.inputs[0][1]) and ruled.same(ruled.out[0], ruled.inputs[0][0])
    every = Ruled(aten.fft_fftn.default, torch.randn(2, 6))
    assert all(every.labels.frozen(dim) for dim in every.inputs[0])


CASES: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "patches": (aten.im2col.default, (torch.randn(1, 3, 4, 4), [2, 2], [1, 1], [0, 0], [2, 2]), 1),
    "windows": (aten.unfold.default, (torch.randn(2, 3, 6), 2, 3, 1), 1),
    "as pairs": (aten.view_as_real.default, (torch.randn(2, 3, dtype=torch.complex64),), 1),
    "from pairs": (aten.view_as_complex.default, (torch.randn(3, 4, 2),), 0),
}


@pytest.mark.parametrize(("target", "args", "axis"), CASES.values(), ids=CASES)
def test_a_channel_that_is_cut_takes_all_that_came_of_it(target: Any, args: Any, axis: int) -> None:
    ruled = Ruled(target, *args)
    found, wanted = ruled.cut(ruled.inputs[0][axis][[1]])
    torch.testing.assert_close(found, wanted)
    assert wanted.numel() < ruled.tensor.numel()


def test_each_channel_of_patches_stands_kernel_times_in_a_row() -> None:
    ruled = Ruled(aten.im2col.default, torch.randn(1, 3, 4, 4), [2, 2], [1, 1], [0, 0], [2, 2])
    assert ruled.same(ruled.out[1], np.repeat(ruled.inputs[0][1], 4))


def test_the_places_of_a_window_that_are_added_up_are_frozen() -> None:
    columns = torch.randn(1, 12, 4)
    ruled = Ruled(aten.col2im.default, columns, [4, 4], [2, 2], [1, 1], [0, 0], [2, 2])
    channel = ruled.out[1]
    assert len(channel) == 3 and not ruled.labels.frozen(channel)
    found, wanted = ruled.cut(channel[[0]])
    torch.testing.assert_close(found, wanted)
    assert wanted.shape[1] == 2
