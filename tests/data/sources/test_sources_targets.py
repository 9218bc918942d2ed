from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.core.errors import TaskError
from whet.data.sources.targets import targets_of


def test_text_is_classes_in_order_and_floats_are_numbers() -> None:
    found = targets_of(["dog", "cat", "dog"], "animals")
    assert found.values.tolist() == [1, 0, 1] and found.classes == ("cat", "dog") and found.aim == "classes"
    numbers = targets_of([1.0, 2.0, 1.0], "prices")
    assert numbers.aim == "numbers" and numbers.values.dtype == torch.float32 and not numbers.classes


def test_few_whole_numbers_are_classes_and_many_are_numbers() -> None:
    few = targets_of(np.arange(60) % 3, "y")
    assert few.aim == "classes" and few.classes == ("0", "1", "2") and "--loss mse" in few.note
    assert targets_of(np.arange(60), "y").aim == "numbers"
    assert targets_of(np.arange(60) % 3, "y", "numbers").aim == "numbers"
    assert targets_of(np.arange(60), "y", "classes").aim == "classes"


def test_classes_that_count_from_zero_stay_and_others_are_numbered() -> None:
    gap = targets_of(torch.tensor([0, 1, 3] * 5), "y")  # class 2 does not occur here
    assert gap.values.tolist()[:3] == [0, 1, 3] and len(gap.classes) == 4
    others = targets_of(torch.tensor([10, 30, 20] * 5), "y")
    assert others.values.tolist()[:3] == [0, 2, 1] and others.classes == ("10", "20", "30")
    assert "10 to 30 became 0 to 2" in others.note


def test_maps_of_classes_keep_their_shape() -> None:
    assert targets_of(np.tile([[0, 1], [2, 1]], (10, 1, 1)), "mask").values.shape == (10, 2, 2)


def test_what_cannot_be_meant_is_said() -> None:
    for values, aim, told in (
        (["cat"] * 4, None, "a single class, 'cat'"),
        ([1.0, float("nan")], None, "1 values that are missing"),
        (["a", "b"], "numbers", "text such as 'a'"),
        ([0.5, 1.5], "classes", "numbers such as 0.5"),
    ):
        with pytest.raises(TaskError, match=told):
            targets_of(values, "column 'y'", aim)  # type: ignore[arg-type]
