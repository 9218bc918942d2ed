"""Rules that move elements about: after a cut the rewritten call gives what is left of the whole one's result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ruled import Ruled

aten = torch.ops.aten
torch.manual_seed(0)
X = torch.randn(2, 6)

CASES: dict[str, tuple[Any, tuple[Any, ...], int, int, list[int]]] = {
    "view": (aten.view.default, (X, [2, 2, 3]), -1, 1, [0]),
    "view, inner": (aten.view.default, (X, [2, 2, 3]), -1, 2, [1, 2]),
    "unflatten": (aten.unflatten.int, (X, 1, [2, 3]), -1, 1, [1]),
    "permute": (aten.permute.default, (X, [1, 0]), 0, 1, [0, 5]),
    "transpose": (aten.transpose.int, (X, 0, 1), 0, 1, [2]),
    "unsqueeze": (aten.unsqueeze.default, (X, 1), 0, 1, [2]),
    "squeeze": (aten.squeeze.dim, (X[:, None], 1), 0, 2, [2]),
    "expand": (aten.expand.default, (X[:, None], [2, 3, 6]), -1, 1, [0]),
    "repeat": (aten.repeat.default, (X, [1, 2]), 0, 1, [1, 4]),
    "repeat of one": (aten.repeat.default, (X[:, :1], [1, 3]), -1, 1, [0, 1]),
    "repeat_interleave": (aten.repeat_interleave.self_int, (X, 2, 1), 0, 1, [3]),
    "flip": (aten.flip.default, (X, [1]), 0, 1, [0]),
    "cat": (aten.cat.default, ([X, X + 1], 1), 1, 1, [0, 3]),
    "stack": (aten.stack.default, ([X, X + 1], 1), 1, 1, [0, 3]),
    "split": (aten.split.Tensor, (X, 4, 1), 0, 1, [0, 1, 5]),
    "pad": (aten.constant_pad_nd.default, (X, [1, 2]), 0, 1, [0, 2]),
    "crop": (aten.constant_pad_nd.default, (X, [-2, 1]), 0, 1, [0, 3]),
    "new padding": (aten.constant_pad_nd.default, (X, [1, 2]), -1, 1, [0, 8]),
    "zeros": (aten.zeros.default, ([2, 4],), -1, 1, [0, 1]),
    "pixel_shuffle": (aten.pixel_shuffle.default, (torch.randn(1, 8, 2, 2), 2), -1, 1, [1]),
    "pixel_unshuffle": (aten.pixel_unshuffle.default, (torch.randn(1, 3, 4, 4), 2), 0, 1, [1]),
}
"""Operator, arguments, the input (-1: the output) that loses, its dimension, and which elements it loses."""


@pytest.mark.parametrize(("target", "args", "place", "axis", "gone"), CASES.values(), ids=CASES)
def test_a_cut_call_gives_what_is_left(target: Any, args: Any, place: int, axis: int, gone: list[int]) -> None:
    ruled = Ruled(target, *args)
    found, wanted = ruled.cut((ruled.out if place < 0 else ruled.inputs[place])[axis][gone])
    whole, *_ = ruled.tensor if isinstance(ruled.tensor, tuple | list) else [ruled.tensor]
    for a, b in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
        torch.testing.assert_close(a, b)
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    assert first.numel() < whole.numel(), "something was cut"


@pytest.mark.parametrize(
    ("target", "args", "axis"),
    [
        (aten.unbind.int, (X, 1), 1), (aten.triu.default, (X,), 1), (aten.squeeze.dim, (X, 1), 1),
        (aten.repeat_interleave.self_int, (X, 2, None), 1), (aten.pad.default, (X[None], [1, 1], "reflect"), 2),
    ],
)  # fmt: skip
def test_what_an_operator_cannot_spare_is_frozen(target: Any, args: Any, axis: int) -> None:
    ruled = Ruled(target, *args)
    assert ruled.labels.frozen(ruled.inputs[0][axis])


def test_joined_tensors_agree_in_their_other_dimensions() -> None:
    ruled = Ruled(aten.cat.default, [X, X], 0)
    assert ruled.same(ruled.inputs[0][1], ruled.inputs[1][1]) and not ruled.same(ruled.inputs[0][0], ruled.inputs[1][0])


def test_a_repeat_without_a_dimension_is_reported() -> None:
    ruled = Ruled(aten.repeat_interleave.self_int, X, 2, None)
    assert "one dimension has a rule" in next(iter(ruled.call.skipped.values()))


def test_a_shuffle_loses_whole_groups() -> None:
    ruled = Ruled(aten.channel_shuffle.default, torch.randn(1, 6, 2), 3)
    group = np.array(sorted(ruled.labels.common(ruled.inputs[0][1][:2])))
    found, wanted = ruled.cut(group)
    torch.testing.assert_close(found, wanted)
    assert found.shape[1] == 4 and ruled.node.args[1] == 2, "one of three groups has gone"
