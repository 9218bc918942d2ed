from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whet.decisions.pareto import non_dominated
from whet.search.dominance import best, ranks

POINTS = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float))


@given(POINTS)
def test_front_zero_is_the_non_dominated_set(points: np.ndarray) -> None:
    found = {tuple(points[i]) for i in np.flatnonzero(ranks(points) == 0)}
    assert found == {tuple(points[i]) for i in non_dominated(points.tolist())}


@given(POINTS)
def test_a_point_of_a_later_front_is_dominated_by_one_of_the_front_before(points: np.ndarray) -> None:
    front = ranks(points)
    for i in np.flatnonzero(front > 0):
        before = points[front == front[i] - 1]
        assert ((before <= points[i]).all(1) & (before < points[i]).any(1)).any()


@given(POINTS)
def test_the_best_are_taken_front_by_front(points: np.ndarray) -> None:
    front = ranks(points)
    taken = front[best(points, len(points))]
    assert sorted(taken) == list(taken)
