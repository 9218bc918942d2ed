from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whet.decisions.pareto import best, hypervolume, non_dominated, ranks

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)
POPULATIONS = arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float)
)


@given(POINTS)
def test_kept_points_are_beaten_by_none_and_beat_the_rest(points: list[tuple[int, int]]) -> None:
    kept = [points[i] for i in non_dominated(points)]
    assert len(set(kept)) == len(kept)
    for a, b in itertools.permutations(kept, 2):
        assert not (a[0] <= b[0] and a[1] <= b[1])
    assert all(any(k[0] <= p[0] and k[1] <= p[1] for k in kept) for p in points)


@given(POINTS)
def test_hypervolume_counts_the_covered_cells(points: list[tuple[int, int]]) -> None:
    cells = itertools.product(range(8), range(8))
    covered = sum(any(p[0] <= x and p[1] <= y for p in points) for x, y in cells)
    assert hypervolume([(float(a), float(b)) for a, b in points], (8.0, 8.0)) == covered


@given(POPULATIONS)
def test_front_zero_is_the_non_dominated_set(points: np.ndarray) -> None:
    found = {tuple(points[i]) for i in np.flatnonzero(ranks(points) == 0)}
    assert found == {tuple(points[i]) for i in non_dominated(points.tolist())}


@given(POPULATIONS)
def test_a_point_of_a_later_front_is_dominated_by_one_of_the_front_before(points: np.ndarray) -> None:
    front = ranks(points)
    for i in np.flatnonzero(front > 0):
        before = points[front == front[i] - 1]
        assert ((before <= points[i]).all(1) & (before < points[i]).any(1)).any()


@given(POPULATIONS)
def test_the_best_are_taken_front_by_front(points: np.ndarray) -> None:
    front = ranks(points)
    taken = front[best(points, len(points))]
    assert sorted(taken) == list(taken)
