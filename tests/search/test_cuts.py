"""The minimum cut against trying everything."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.core.errors import DecisionError
from whet.search.cuts import by_minimum_cut

COUNT = 6
PAIRS = list(itertools.combinations(range(COUNT), 2))


def cost(differences: list[int], borders: dict[tuple[int, int], int], taken: tuple[bool, ...] | list[bool]) -> int:
    own = sum(d for d, t in zip(differences, taken, strict=True) if t)
    return own + sum(price for (i, j), price in borders.items() if taken[i] != taken[j])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-20, 20), min_size=COUNT, max_size=COUNT),
    st.dictionaries(st.sampled_from(PAIRS), st.integers(0, 15)),
)
def test_it_finds_the_optimum(differences: list[int], borders: dict[tuple[int, int], int]) -> None:
    found = by_minimum_cut(differences, borders)
    every = itertools.product((False, True), repeat=COUNT)
    assert cost(differences, borders, found) == min(cost(differences, borders, taken) for taken in every)


def test_dear_borders_make_runs_and_no_border_leaves_each_its_own() -> None:
    assert by_minimum_cut([-1.0, 2.0, -1.5, 3.0], {}) == [True, False, True, False]
    chain = {(0, 1): 2.0, (1, 2): 2.0, (2, 3): 2.0}
    assert by_minimum_cut([-5.0, 1.0, -5.0, 4.0], chain) == [True, True, True, False]
    assert by_minimum_cut([-5.0, 1.0, -5.0, 4.0], {(1, 0): 2.0, (2, 1): 2.0, (3, 2): 2.0}) == [True, True, True, False]


def test_what_costs_nothing_is_left_and_a_border_cannot_pay() -> None:
    assert by_minimum_cut([0.0, 0.0], {(0, 1): 0.0}) == [False, False]
    assert by_minimum_cut([], {}) == []
    with pytest.raises(DecisionError, match=r"at least 0; got -1\.0"):
        by_minimum_cut([1.0, 1.0], {(0, 1): -1.0})
