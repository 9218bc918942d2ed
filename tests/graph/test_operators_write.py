"""Rules that write a part of a tensor: the written elements are those that they replace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ruled import Ruled

aten = torch.ops.aten
torch.manual_seed(0)
X = torch.randn(2, 8)
INDEX = torch.tensor([1, 5])

CASES: dict[str, tuple[Any, tuple[Any, ...], list[int]]] = {
    "a run": (aten.slice_scatter.default, (X, torch.ones(2, 3), 1, 2, 5), [0, 3]),
    "every second": (aten.slice_scatter.default, (X, torch.ones(2, 4), 1, 0, 8, 2), [1, 3, 5, 7]),
    "an uneven rest": (aten.slice_scatter.default, (X, torch.ones(2, 4), 1, 0, 8, 2), [2]),
    "one element": (aten.select_scatter.default, (X, torch.ones(2), 1, 5), [0, 7]),
}


@pytest.mark.parametrize(("target", "args", "gone"), CASES.values(), ids=CASES)
def test_a_cut_call_writes_what_is_left(target: Any, args: Any, gone: list[int]) -> None:
    ruled = Ruled(target, *args)
    found, wanted = ruled.cut(ruled.inputs[0][1][gone])
    torch.testing.assert_close(found, wanted)


def test_the_written_part_has_the_labels_of_what_it_replaces() -> None:
    ruled = Ruled(aten.slice_scatter.default, X, torch.ones(2, 3), 1, 2, 5)
    whole, part = ruled.inputs
    assert ruled.same(whole[1][2:5], part[1]) and ruled.same(whole[0], part[0])
    one = Ruled(aten.select_scatter.default, X, torch.ones(2), 1, 5)
    assert one.labels.frozen(one.inputs[0][1][5:6]) and not one.labels.frozen(one.inputs[0][1][:5])


@pytest.mark.parametrize(
    ("target", "args"),
    [
        (aten.index_copy.default, (X, 1, INDEX, torch.ones(2, 2))),
        (aten.index_add.default, (X, 1, INDEX, torch.ones(2, 2))),
        (aten.scatter.src, (X, 1, torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, 2))),
        (aten.index_put.default, (X, [None, INDEX], torch.ones(2, 2))),
    ],
    ids=["index_copy", "index_add", "scatter", "index_put"],
)  # fmt: skip
def test_the_dimension_that_an_index_writes_along_is_frozen(target: Any, args: Any) -> None:
    ruled = Ruled(target, *args)
    assert ruled.labels.frozen(ruled.inputs[0][1]) and not ruled.labels.frozen(ruled.inputs[0][0])
    assert ruled.same(ruled.inputs[0][0], ruled.inputs[-1][0])


def test_several_indices_of_several_dimensions_are_reported() -> None:
    index = torch.tensor([[0, 1]])
    ruled = Ruled(aten.index_put.default, X, [index % 2, index], torch.ones(1, 2))
    assert "index of several dimensions has no rule" in next(iter(ruled.call.skipped.values()))
    assert ruled.labels.frozen(ruled.inputs[0][0])
