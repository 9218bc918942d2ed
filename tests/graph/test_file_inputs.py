"""Inputs of a file: which free size is the batch, and what to give for the others."""

import numpy as np
import pytest

from whet.core.errors import TargetError, UnknownNameError
from whet.graph.file_inputs import FileInput, example_arrays, fixed_batch, is_batch, named_sizes, static_shapes

F4, I8 = np.dtype("f4"), np.dtype("i8")
SOUND = FileInput("sound", F4, ("batch", "samples"))
STATE = FileInput("state", F4, (2, "batch", 4))


def test_the_batch_goes_by_its_name_then_by_its_place() -> None:
    assert is_batch("batch", 1) and is_batch(None, 0) and is_batch("whatever", 0)
    assert not is_batch("tokens", 0) and not is_batch(None, 1) and not is_batch(7, 0)
    assert is_batch("d0", 1, [("d0", 3)]), "another input has it in dimension 0"


def test_given_sizes_hold_for_all_dimensions_of_that_name() -> None:
    shapes = static_shapes([SOUND, STATE], 3, {"sound": (5, 160)})
    assert shapes == {"sound": (5, 160), "state": (2, 5, 4)}
    assert named_sizes([SOUND, STATE], shapes) == {"batch": 5, "samples": 160}
    assert static_shapes([SOUND], 3, None, {"sound": ("batch", 80)}) == {"sound": (3, 80)}


def test_what_is_left_open_is_printed_as_the_option_to_give() -> None:
    with pytest.raises(
        TargetError, match=r"dimension 1 \('samples'\) of input 'sound' is free; give --shape 'sound=1xSIZE'"
    ):
        static_shapes([SOUND], 1)
    with pytest.raises(TargetError, match=r"input 'state' is 2xbatchx4; got 1x1x4"):
        static_shapes([STATE], 1, {"state": (1, 1, 4)})
    with pytest.raises(UnknownNameError, match="did you mean 'sound'"):
        static_shapes([SOUND], 1, {"sond": (1, 1)})


def test_two_inputs_of_one_name_must_agree() -> None:
    with pytest.raises(TargetError, match="input 'state' is 2xbatchx4; got 2x3x4"):
        static_shapes([SOUND, STATE], 1, {"sound": (5, 160), "state": (2, 3, 4)})


def test_a_batch_is_fixed_where_all_first_sizes_are_the_same_number() -> None:
    assert fixed_batch([FileInput("a", F4, (8, 3)), FileInput("b", F4, (8,))]) == 8
    assert fixed_batch([FileInput("a", F4, (8, 3)), FileInput("b", F4, (2, 3))]) is None
    assert fixed_batch([FileInput("a", F4, (8, "batch"))]) is None


def test_examples_are_repeatable_and_valid_as_tokens_and_masks() -> None:
    inputs = [FileInput("x", F4, (2, 3)), FileInput("ids", I8, (4,)), FileInput("rate", I8, ())]
    shapes = {"x": (2, 3), "ids": (4,), "rate": ()}
    one, other = (example_arrays(inputs, shapes, {"rate": 16000}) for _ in range(2))
    assert np.array_equal(one["x"], other["x"]) and one["ids"].tolist() == [1, 0, 1, 0] and one["rate"] == 16000
    with pytest.raises(UnknownNameError, match="did you mean 'rate'"):
        example_arrays(inputs, shapes, {"rat": 1})
    with pytest.raises(TargetError, match="is too large"):
        example_arrays(inputs[:1], {"x": (1 << 20, 1 << 20)})
