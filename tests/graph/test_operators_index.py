"""Rules that pick elements: what is left is picked where it went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ruled import Ruled

from whet.graph.operators_index import apart

aten = torch.ops.aten
torch.manual_seed(0)
X = torch.randn(2, 8)
PLACES = torch.tensor([7, 0, 3])

CASES: dict[str, tuple[Any, tuple[Any, ...], list[int]]] = {
    "slice": (aten.slice.Tensor, (X, 1, 2, 8), [0, 3]),
    "slice with a step": (aten.slice.Tensor, (X, 1, 1, 8, 2), [0, 2]),
    "slice with an uneven rest": (aten.slice.Tensor, (X, 1, 0, 8, 2), [4]),
    "narrow": (aten.narrow.default, (X, 1, 2, 4), [0, 5]),
    "select": (aten.select.int, (X, 1, -2), [0, 7]),
    "index_select": (aten.index_select.default, (X, 1, PLACES), [0, 1]),
    "index": (aten.index.Tensor, (X, [None, PLACES]), [3, 4]),
}


@pytest.mark.parametrize(("target", "args", "gone"), CASES.values(), ids=CASES)
def test_a_cut_call_picks_what_is_left(target: Any, args: Any, gone: list[int]) -> None:
    ruled = Ruled(target, *args)
    found, wanted = ruled.cut(ruled.inputs[0][1][gone])
    torch.testing.assert_close(found, wanted)


def test_only_an_uneven_rest_becomes_an_index() -> None:
    for gone, target in (([0, 1], aten.slice.Tensor), ([4], aten.index_select.default)):
        ruled = Ruled(aten.slice.Tensor, X, 1, 0, 8, 2)
        ruled.cut(ruled.inputs[0][1][gone])
        assert ruled.node.target is target


def test_the_selected_element_stays() -> None:
    ruled = Ruled(aten.select.int, X, 1, -2)
    dim = ruled.inputs[0][1]
    assert ruled.labels.frozen(dim[6:7]) and not ruled.labels.frozen(dim[:6])
    assert not ruled.labels.frozen(ruled.inputs[0][0])


def test_what_data_index_is_frozen_and_what_they_do_not_passes() -> None:
    gathered = Ruled(aten.gather.default, X, 1, torch.zeros(2, 3, dtype=torch.int64))
    assert gathered.labels.frozen(gathered.inputs[0][1]) and gathered.same(*(dims[0] for dims in gathered.inputs))
    both = Ruled(aten.index.Tensor, torch.randn(2, 3, 4), [None, PLACES % 3, PLACES % 4])
    assert [both.labels.frozen(dim) for dim in both.inputs[0]] == [False, True, True]
    assert both.same(both.out[0], both.inputs[0][0])


def test_evenly_spaced_positions_are_a_slice() -> None:
    assert apart(np.array([1, 4, 7]), 9) == (1, 8, 3)
    assert apart(np.array([1, 4, 6]), 9) is None
    assert apart(np.array([5]), 9) == (5, 6, 1)
