"""Which points no other point beats, how much of the plane they cover, and ranks and crowding of populations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = Sequence[float]
Points = NDArray[np.float64]


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other is at least as small as everywhere and smaller somewhere.

    Of equal points the first is kept.

    >>> non_dominated([(1, 3), (2, 2), (3, 3), (2, 2)])
    [0, 1]
    """
    kept = []
    for i, p in enumerate(points):
        beaten = any(
            all(a <= b for a, b in zip(q, p, strict=True)) and (tuple(q) != tuple(p) or j < i)
            for j, q in enumerate(points)
            if j != i
        )
        if not beaten:
            kept.append(i)
    return kept


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area between a front of two minimised objectives and `reference`.

    Points that do not lie below the reference in both objectives count for nothing (Zitzler and Thiele 1998,
    Multiobjective optimization using evolutionary algorithms).

    >>> hypervolume([(0, 1), (1, 0)], (2, 2))
    3.0
    """
    inside = [p for p in points if p[0] < reference[0] and p[1] < reference[1]]
    area, ceiling = 0.0, float(reference[1])
    for x, y in sorted(inside):
        if y < ceiling:
            area += (reference[0] - x) * (ceiling - y)
            ceiling = y
    return area


def ranks(points: Points) -> NDArray[np.int64]:
    """Return each point's front, 0 for those that no other dominates; all objectives are minimised (NSGA-II).

    Paper: Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm.

    >>> ranks(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 2.0]])).tolist()
    [0, 0, 1, 2]
    """
    no_worse = (points[:, None, :] <= points[None, :, :]).all(-1)
    better = (points[:, None, :] < points[None, :, :]).any(-1)
    dominates = no_worse & better
    left = np.ones(len(points), dtype=bool)
    found = np.zeros(len(points), dtype=np.int64)
    front = 0
    while left.any():
        current = left & ~(dominates & left[:, None]).any(0)
        found[current] = front
        left &= ~current
        front += 1
    return found


def standing(points: Points, violations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how each point stands among those before it, `(1 + share it beats - share that beat it) / 2`.

    A point beats those that break limits by more and, where they break them alike, those that it dominates. What comes
    later changes no standing. The first point's is 0.5.

    >>> standing(np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 0.5]]), np.zeros(3)).tolist()
    [0.5, 1.0, 0.25]
    """
    no_worse = (points[:, None, :] <= points[None, :, :]).all(-1)
    better = (points[:, None, :] < points[None, :, :]).any(-1)
    less, equal = violations[:, None] < violations[None, :], violations[:, None] == violations[None, :]
    beats = less | (equal & no_worse & better)
    before = np.maximum(np.arange(len(points)), 1)
    found: NDArray[np.float64] = (1 + (np.tril(beats).sum(1) - np.triu(beats).sum(0)) / before) / 2
    return found


def crowding(points: Points) -> NDArray[np.float64]:
    """Return the crowding distance of points of one front: the sides of the box between each one's neighbours.

    >>> crowding(np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0]])).tolist()
    [inf, 2.0, inf]
    """
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]] if len(values) else 0.0
        distance[order[[0, -1]]] = np.inf
        if span > 0 and len(values) > 2:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return distance


def best(points: Points, count: int) -> NDArray[np.int64]:
    """Return the indices of the `count` best points: by front, within a front by crowding.

    >>> best(np.array([[2.0, 2.0], [0.0, 1.0], [1.0, 0.0]]), 2).tolist()
    [1, 2]
    """
    front = ranks(points)
    spread = np.zeros(len(points))
    for index in range(int(front.max(initial=-1)) + 1):
        members = np.flatnonzero(front == index)
        spread[members] = crowding(points[members])
    return np.lexsort((-spread, front))[:count]
