"""Both programmes against trying everything."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whet.core.errors import DecisionError
from whet.search.programme import by_dynamic_programme, by_integer_programme

ROW = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4)
ROWS = st.lists(ROW, min_size=1, max_size=5)


def total(table: list[list[int]], values: tuple[int, ...] | list[int]) -> int:
    return sum(row[v] for row, v in zip(table, values, strict=True))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 60))
def test_both_find_the_optimum(rows: list[list[tuple[int, int]]], budget: int) -> None:
    costs, damages = ([[pair[i] for pair in row] for row in rows] for i in (0, 1))
    every = list(itertools.product(*(range(len(row)) for row in rows)))
    within_damage = [v for v in every if total(damages, v) <= budget]
    within_cost = [v for v in every if total(costs, v) <= budget]
    if within_damage:
        found = by_integer_programme(costs, damages, budget)
        assert total(damages, found) <= budget
        assert total(costs, found) == min(total(costs, v) for v in within_damage)
    assume(within_cost and budget)
    found = by_dynamic_programme(costs, damages, budget, steps=budget)
    assert total(costs, found) <= budget
    assert total(damages, found) == min(total(damages, v) for v in within_cost)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.floats(1, 60))
def test_rounding_costs_up_never_breaks_the_budget(rows: list[list[tuple[int, int]]], budget: float) -> None:
    costs, damages = ([[pair[i] * 1.37 for pair in row] for row in rows] for i in (0, 1))
    try:
        found = by_dynamic_programme(costs, damages, budget, steps=50)
    except DecisionError:
        return
    assert sum(row[v] for row, v in zip(costs, found, strict=True)) <= budget + 1e-6


def test_costs_are_rounded_up_to_whole_steps() -> None:
    """Costs of 1.5 in a budget of 10 in ten steps count two each: the five that spare most are taken, six would fit."""
    costs, damages = [[0.0, 1.5]] * 10, [[10.0 - i, 0.0] for i in range(10)]
    assert by_dynamic_programme(costs, damages, budget=10.0, steps=10) == [1] * 5 + [0] * 5
    assert by_dynamic_programme(costs, damages, budget=10.0, steps=100) == [1] * 6 + [0] * 4


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(DecisionError, match="within 1; the least is 5"):
        by_integer_programme([[1, 2]], [[5, 6]], 1)
    with pytest.raises(DecisionError, match=r"at most 0\.5; the cheapest costs 1"):
        by_dynamic_programme([[1, 2]], [[5, 6]], 0.5)
    with pytest.raises(DecisionError, match="at least 0"):
        by_dynamic_programme([[1]], [[1]], -1)
    assert by_integer_programme([], [], 0) == []
