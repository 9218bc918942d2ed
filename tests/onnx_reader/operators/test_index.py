"""Slices, gathers, sorting and writing at places."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.onnx_reader.operators.index import FAR, sliced, wrapped
from whet.onnx_reader.values import NotRead

X = torch.arange(12.0).reshape(3, 4)


def test_a_negative_step_runs_backwards_to_the_very_first() -> None:
    found = row("Slice", X, known(-1), known(-FAR - 1), known(1), known(-2))
    assert found.tolist() == X.numpy()[:, ::-2].tolist()
    host = sliced(X.numpy(), 1, -1, -FAR - 1, -2)
    assert host.tolist() == found.tolist()


def test_slices_of_old_have_their_bounds_as_attributes() -> None:
    assert row("Slice", X, opset=9, starts=[1], ends=[FAR * 4], axes=[0]).tolist() == X[1:].tolist()


def test_negative_places_count_from_the_end() -> None:
    assert wrapped(known(-1, 2), 4).tolist() == [3, 2]
    assert wrapped(t([-1, 2], dtype=torch.int32), 4).tolist() == [3, 2]
    assert row("Gather", X, known(-1, 0), axis=1).tolist() == X[:, [-1, 0]].tolist()
    assert row("Gather", X, np.array(-1)).tolist() == X[-1].tolist()
    assert row("Gather", X, known(1, 2), axis=1).tolist() == X[:, 1:3].tolist()
    assert row("Gather", X, t([[-1], [0]], dtype=torch.int64), axis=0).shape == (2, 1, 4)
    assert row("GatherND", X, t([[0, -1], [2, 1]], dtype=torch.int64)).tolist() == [3.0, 9.0]
    assert row("GatherND", X, t([[-1], [1], [0]], dtype=torch.int64), batch_dims=1).tolist() == [3.0, 5.0, 8.0]


def test_of_equal_values_the_first_come_first() -> None:
    values, places = row("TopK", t([1.0, 3.0, 3.0, 0.0]), known(3), outputs=2)
    assert values.tolist() == [3, 3, 1] and places.tolist() == [1, 2, 0]
    _, smallest = row("TopK", t([1.0, 0.0, 0.0]), known(2), outputs=2, largest=0)
    assert smallest.tolist() == [1, 2]


def test_distinct_values_come_sorted_or_in_the_order_of_the_file() -> None:
    x = known(3, 1, 3, 2)
    values, first, inverse, counts = row("Unique", x, outputs=4, sorted=0)
    assert (values.tolist(), first.tolist(), counts.tolist()) == ([3, 1, 2], [0, 1, 3], [2, 1, 1])
    assert values[inverse].tolist() == x.tolist()
    assert row("Unique", x, outputs=4)[0].tolist() == [1, 2, 3]
    with pytest.raises(NotRead, match="whose number depends on them"):
        row("Unique", X)


def test_only_the_first_of_each_sequence_turn_around() -> None:
    x = torch.arange(8).reshape(4, 2)
    found = row("ReverseSequence", x, t([3, 1], dtype=torch.int64))
    assert found.T.tolist() == [[4, 2, 0, 6], [1, 3, 5, 7]]


def test_what_is_written_at_one_place_twice_is_reduced() -> None:
    x, places = torch.ones(3), t([[0], [0], [-1]], dtype=torch.int64)
    updates = t([2.0, 3.0, 5.0])
    assert row("ScatterND", x, places, updates, reduction="add").tolist() == [6, 1, 6]
    assert row("ScatterElements", x, places[:, 0], updates, reduction="mul").tolist() == [6, 1, 5]
    assert row("ScatterND", x, places[1:], updates[1:]).tolist() == [3, 1, 5]


def test_a_cache_is_written_from_each_examples_own_place_and_wraps() -> None:
    cache, new = torch.zeros(2, 4, 1), torch.ones(2, 2, 1)
    found = row("TensorScatter", cache, new, known(3, 1), mode="circular")
    assert found[..., 0].tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]


def test_what_is_kept_and_what_is_not_zero() -> None:
    assert row("Compress", X, np.array([False, True, True]), axis=0).tolist() == X[1:].tolist()
    assert row("Compress", X, np.array([False, True])).tolist() == [1.0]
    assert row("NonZero", known(0, 5, 0, 7)).tolist() == [[1, 3]]
