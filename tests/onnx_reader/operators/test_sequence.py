"""Sequences are lists; places count from the end, and a wrong one is named."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.core.errors import LiftError
from whet.onnx_reader.operators.sequence import items, position


def test_items_are_put_in_taken_out_and_picked() -> None:
    made = row("SequenceConstruct", t([1.0]), t([2.0]))
    grown = row("SequenceInsert", made, t([3.0]), np.array(-1))
    assert [x.item() for x in grown] == [1, 3, 2] and len(made) == 2
    assert row("SequenceInsert", made, t([3.0]))[2].item() == 3
    assert [x.item() for x in row("SequenceErase", grown, np.array(1))] == [1, 2]
    assert [x.item() for x in row("SequenceErase", grown)] == [1, 3]
    assert row("SequenceAt", grown, np.array(-1)).item() == 2
    assert row("SequenceLength", grown).item() == 3 and row("SequenceEmpty") == []


def test_places_outside_and_what_is_no_sequence_are_named() -> None:
    assert position(np.array(-2), 2) == 0
    with pytest.raises(LiftError, match="asks for place 3 of a sequence of 2"):
        position(np.array(3), 2)
    with pytest.raises(LiftError, match="needs a sequence"):
        items(t([1.0]))


@pytest.mark.parametrize("data", [False, True])
def test_splitting_and_joining_are_inverse(data: bool) -> None:
    x = known(*range(5)).reshape(5, 1)
    value = torch.from_numpy(x) if data else x
    parts = row("SplitToSequence", value, np.array(2))
    assert [len(p) for p in parts] == [2, 2, 1]
    assert row("ConcatFromSequence", list(parts), axis=0).tolist() == x.tolist()
    single = row("SplitToSequence", value, None, keepdims=0)
    assert row("ConcatFromSequence", single, axis=0, new_axis=1).tolist() == x.tolist()
    assert [len(p) for p in row("SplitToSequence", value, known(1, 4))] == [1, 4]


def test_an_optional_is_its_value_or_nothing() -> None:
    assert row("OptionalHasElement", None).item() is False
    assert row("OptionalHasElement", t([1.0])).item() is True
    assert row("OptionalGetElement", row("Optional", t([1.0]))).item() == 1
