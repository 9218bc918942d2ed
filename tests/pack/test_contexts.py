"""Classes follow the amounts of what came before, and are the same whichever way the sums are made."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from whet.pack.coder import integers
from whet.pack.contexts import EIGHTH, QUARTERS, ROW_STEPS, SIGNED, Coding, Context, Layout, row_steps, steps_of

ALPHABET = integers(128)
ALL = slice(0, 3)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_layout_gives_back_what_it_was_given(swapped: bool) -> None:
    flat = np.arange(4 * 6 * 9)
    layout = Layout(4, 6, 9, swapped)
    rows = layout.rows_of(flat)
    assert rows.shape == (4, 54) and (layout.flat_of(rows) == flat).all()
    assert (rows[0, :9] == flat[:9]).all() and rows[1, 0] == (9 if swapped else 54)


def test_blocks_cover_all_rows_once() -> None:
    for layout in (Layout(1, 5), Layout(1000, 3), Layout(300, 4096), Layout(7, 1 << 18)):
        ends = layout.blocks()
        assert ends[0][0] == 0 and ends[-1][1] == layout.rows
        assert all(a[1] == b[0] for a, b in pairwise(ends))


def test_quarters_are_powers_of_two() -> None:
    assert np.allclose(np.log2(QUARTERS), np.arange(len(QUARTERS)) / 4, atol=1e-3)
    assert QUARTERS[EIGHTH] == 256 and steps_of(np.array([2.0**8]))[0] == 64


def context(coding: Coding, rows: np.ndarray | None = None) -> Context:
    return Context(Layout(4, 2, 3), ALPHABET.amounts, ALPHABET.signs, coding, rows)


def test_columns_are_told_by_earlier_rows() -> None:
    found = context(Coding(EIGHTH, columns=True))
    found.begin(0, 1)
    assert (found.classes(ALL) == 16).all()
    found.learn(ALL, np.array([[128, 128, 128, 128 + 64, 128 - 64, 128 + 64]]))
    found.begin(1, 2)
    still, loud = found.classes(ALL)[0, 0], found.classes(ALL)[0, -1]
    assert loud >= still + 8
    blind = context(Coding(EIGHTH))
    blind.begin(0, 1)
    blind.learn(ALL, np.full((1, 6), 128 + 64))
    blind.begin(1, 2)
    assert (blind.classes(ALL) == 16).all()


def test_rows_are_told_beforehand_and_taken_out_of_the_columns() -> None:
    amounts = np.array([[1.0, 1], [4, 4], [1, 1], [2, 2]])
    steps = row_steps(amounts)
    assert (steps.astype(int) - ROW_STEPS // 2).tolist() == [-2, 2, -2, 0]
    rows = Context(Layout(4, 2), ALPHABET.amounts, ALPHABET.signs, Coding(EIGHTH + 4, rows=True, columns=True), steps)
    rows.begin(0, 2)
    assert rows.classes(slice(0, 1))[:, 0].tolist() == [16, 20]
    rows.learn(slice(0, 1), 128 + amounts[:2].astype(np.int64))
    rows.begin(2, 4)
    assert rows.classes(slice(0, 1))[:, 0].tolist() == [16, 18]


def test_a_kernel_is_told_by_its_earlier_positions() -> None:
    found = context(Coding(EIGHTH, kernel=True))
    found.begin(0, 2)
    found.classes(slice(0, 1))
    found.learn(slice(0, 1), np.array([[128, 128 + 16], [128 - 16, 128]]))
    classes = found.classes(slice(1, 2)).reshape(2, 2, 1)
    assert (classes[0, 0] < 16).all() and (classes[0, 1] > 16 + SIGNED).all() and (classes[1, 0] == classes[0, 1]).all()
    assert found.sign.tolist() == [[0, 1], [-1, 0]]
