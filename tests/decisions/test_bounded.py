"""A programme under several limits: what no enumeration beats, each limit kept, and a clear end where none is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from whet.core.errors import DecisionError
from whet.decisions.bounded import Table, by_bounded_programme


def total(table: Table, picked: tuple[int, ...] | list[int]) -> float:
    return sum(row[v] for row, v in zip(table, picked, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_no_enumeration_within_all_limits_costs_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs, one, other = (rng.random((5, 3)).tolist() for _ in range(3))
    limits = [(one, 2.4), (other, 2.2)]
    within = [p for p in itertools.product(range(3), repeat=5) if all(total(t, p) <= limit for t, limit in limits)]
    found = by_bounded_programme(costs, limits)
    assert all(total(t, found) <= limit + 1e-9 for t, limit in limits)
    assert total(costs, found) == pytest.approx(min(total(costs, p) for p in within))
    assert total(costs, found) > total(costs, by_bounded_programme(costs, [])), "the limits bind"


def test_tables_of_any_unit_are_kept_within() -> None:
    assert by_bounded_programme([[1, 2], [1, 2]], [([[2e9, 1e9], [2e9, 1e9]], 3e9)]) in ([0, 1], [1, 0])
    assert by_bounded_programme([[1, 2], [1, 2]], [([[2e-9, 1e-9], [2e-9, 1e-9]], 3e-9)]) in ([0, 1], [1, 0])
    assert by_bounded_programme([], [([], 1.0)]) == []


def test_limits_that_nothing_meets_are_named() -> None:
    with pytest.raises(DecisionError, match="no selection is within the limits: 5, of which 1 is the least; 2, of whi"):
        by_bounded_programme([[3, 1]], [([[1, 9]], 5.0), ([[4, 3]], 2.0)])
