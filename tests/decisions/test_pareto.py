from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from whet.decisions.pareto import hypervolume, non_dominated

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


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
