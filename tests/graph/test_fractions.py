"""Fractions are checked alike everywhere, and units are kept in steps that leave some."""

from __future__ import annotations

import pytest

from whet.core.errors import DecisionError
from whet.core.space import Decision
from whet.graph.fractions import aligned, all_alike, check_fractions


@pytest.mark.parametrize("fractions", [(0.5,), (0.0, 1.0), (0.5, 1.0, 1.5), (-0.5, 1.0), ()])
def test_fractions_lie_above_nothing_and_include_the_whole(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DecisionError, match=r"in \(0, 1\] and include 1.0; got \("):
        check_fractions(fractions)
    check_fractions((0.25, 1.0))


def test_each_fraction_but_the_whole_is_for_all_choices_the_largest_first() -> None:
    found = all_alike(iter(["a:width", "b:width"]), (0.25, 1.0, 0.5))
    assert found == [Decision({"a:width": f, "b:width": f}) for f in (0.5, 0.25)]
    assert all_alike([], (0.25, 1.0)) == []


def test_a_fraction_is_a_multiple_of_the_step_where_the_smallest_leaves_one() -> None:
    assert [aligned(64, q, (0.25, 1.0), 16, 64) for q in (0.25, 0.3, 0.5, 0.9, 1.0)] == [16, 16, 32, 64, 64]
    assert [aligned(10, q, (0.25, 1.0), 8, 10) for q in (0.25, 0.5, 0.75)] == [2, 6, 8], "a step of two"
    assert [aligned(3, q, (0.01, 1.0), 8, 3) for q in (0.01, 0.5)] == [1, 2], "one is left, and halves round up"
