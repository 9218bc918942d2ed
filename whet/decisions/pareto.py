"""Which points no other point beats, and how much of the plane they cover."""

from __future__ import annotations

from collections.abc import Sequence

Point = Sequence[float]


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
