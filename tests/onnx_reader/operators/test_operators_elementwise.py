"""Arithmetic element by element: how integers divide, shift and wrap, and what stays known."""

import math

import numpy as np
import pytest
import torch
from rows import known, row, t


def test_integers_are_divided_towards_zero_on_both_sides() -> None:
    left, right = [7, -7, 7, -7], [2, 2, -2, -2]
    assert row("Div", known(*left), known(*right)).tolist() == [3, -3, -3, 3]
    assert row("Div", t(left, dtype=torch.int64), t(right, dtype=torch.int64)).tolist() == [3, -3, -3, 3]


@pytest.mark.parametrize(("fmod", "wanted"), [(0, [1, -1]), (1, [-1, 1])])
def test_the_remainder_has_the_sign_of_the_divisor_or_of_the_dividend(fmod: int, wanted: list[int]) -> None:
    assert row("Mod", known(-5, 5), known(2, -2), fmod=fmod).tolist() == wanted
    data = t([-5, 5], dtype=torch.int64), t([2, -2], dtype=torch.int64)
    assert row("Mod", *data, fmod=fmod).tolist() == wanted


def test_known_operands_give_a_known_result_and_one_number_keeps_the_type() -> None:
    assert isinstance(row("Add", known(1), known(2)), np.ndarray)
    assert row("Mul", t([1.0]).half(), np.array(2.0, np.float32)).dtype == torch.float16


def test_unsigned_integers_that_torch_cannot_add_are_added() -> None:
    x = torch.tensor([65535, 1], dtype=torch.uint16)
    found = row("Add", x, torch.tensor([1, 1], dtype=torch.uint16))
    assert found.dtype == torch.uint16 and found.to(torch.int64).tolist() == [0, 2]
    assert row("Greater", x, torch.tensor([2, 2], dtype=torch.uint16)).tolist() == [True, False]


def test_shifts_by_all_bits_leave_nothing_or_the_sign() -> None:
    x, by = t([-8, 8], dtype=torch.int32), t([40, 40], dtype=torch.int32)
    assert row("BitShift", x, by, direction="RIGHT").tolist() == [-1, 0]
    assert row("BitShift", x, by, direction="LEFT").tolist() == [0, 0]
    top = torch.tensor([1 << 63], dtype=torch.uint64)
    assert row("BitShift", top, torch.tensor([63], dtype=torch.uint64), direction="RIGHT").to(torch.int64).tolist() == [
        1
    ]


def test_bounds_may_be_absent_known_or_data() -> None:
    x = t([-2.0, 0.0, 2.0])
    assert row("Clip", x) is x
    assert row("Clip", x, None, np.array(1.0, np.float32)).tolist() == [-2, 0, 1]
    assert row("Clip", x, t([-1.0, 1.0, 3.0])).tolist() == [-1, 1, 3]
    assert row("Clip", x, opset=6, min=-1.0, max=1.0).tolist() == [-1, 0, 1]
    assert row("Clip", known(5), known(0), known(3)).tolist() == [3]


def test_infinities_are_told_by_their_sign() -> None:
    x = t([math.inf, -math.inf, 1.0])
    assert row("IsInf", x).tolist() == [True, True, False]
    assert row("IsInf", x, detect_negative=0).tolist() == [True, False, False]
    assert row("IsInf", x, detect_positive=0).tolist() == [False, True, False]


def test_any_number_of_arguments_are_taken_two_by_two() -> None:
    assert row("Mean", t([1.0]), t([2.0]), t([6.0])).tolist() == [3.0]
    assert row("Max", known(1), known(7), known(3)).tolist() == [7]


def test_a_choice_between_known_values_by_data_is_data() -> None:
    found = row("Where", torch.tensor([True, False]), known(1, 2), known(3, 4))
    assert isinstance(found, torch.Tensor) and found.tolist() == [1, 4]
    assert isinstance(row("Where", np.array([True]), known(1), known(3)), np.ndarray)


def test_a_power_has_the_type_of_its_base() -> None:
    assert row("Pow", t([2, 3], dtype=torch.int32), t([2.0, 2.0])).dtype == torch.int32
