"""What rules are written against: arguments by name, broadcasting, and edits of literal arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ruled import Ruled
from torch import fx

from whet.graph.rows import Bound, bind, each_dims, frozen_like, is_dims, operator_name

aten = torch.ops.aten


def test_arguments_go_by_the_names_of_the_schema_with_their_defaults() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(aten.slice.Tensor, (x, 1), {"end": 3})
    assert bind(node) == {"self": x, "dim": 1, "start": None, "end": 3, "step": 1}
    assert operator_name(aten.slice.Tensor) == "slice" and operator_name(len) == "len"


@pytest.mark.parametrize(
    ("left", "right", "tied"),
    [((4, 3), (4, 3), [True, True]), ((4, 3), (3,), [False, True]), ((4, 3), (4, 1), [True, False])],
)
def test_dimensions_of_equal_size_are_tied_from_the_right(
    left: tuple[int, ...], right: tuple[int, ...], tied: list[bool]
) -> None:
    ruled = Ruled(aten.add.Tensor, torch.ones(left), torch.ones(right))
    a, b = ruled.inputs
    found = [ruled.same(a[-i], b[-i]) if len(b) >= i else False for i in (2, 1)]
    assert found == tied
    assert ruled.same(ruled.out[0], a[0]) and ruled.same(ruled.out[1], a[1])


def test_an_operator_without_a_rule_freezes_what_it_touches_and_says_so_once() -> None:
    ruled = Ruled(aten.add.Tensor, torch.ones(2, 3), torch.ones(2, 3))
    out = ruled.call.unknown("no rule")
    assert ruled.call.skipped == {ruled.node.name: "add: no rule"} and all(ruled.labels.frozen(d) for d in out)
    again = Ruled(aten.add.Tensor, torch.ones(1), torch.ones(1))
    again.call.unknown("no rule")
    assert again.call.skipped == {}, "nothing was taken away"


def test_the_labels_of_nests_are_found() -> None:
    one, two = [np.zeros(2, np.int64)], [np.zeros(3, np.int64)]
    assert is_dims(one) and not is_dims((one,)) and list(each_dims((one, (None, two)))) == [one, two]
    assert [len(d) for d in frozen_like(torch.ones(2, 5))] == [2, 5] and frozen_like((1, torch.ones(1)))[0] is None


def test_tensors_in_lists_count_as_arguments() -> None:
    graph = fx.Graph()
    a, b = graph.placeholder("a"), graph.placeholder("b")
    node = graph.call_function(aten.cat.default, ([a, b], 1))
    dims = {"a": [np.arange(2)], "b": [np.arange(3)]}
    bound = Bound(node, bind(node), dims)
    assert [len(d[0]) for d in bound.tensors()] == [2, 3] and bound.first is dims["a"]
    assert bound.maybe("dim") is None and bound.get("missing", 7) == 7 and "dim" in bound
