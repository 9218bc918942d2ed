"""Which of two values each choice takes where neighbours that differ cost something: a minimum cut, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from whet.core.errors import DecisionError

UNITS = 2**20
"""Flows are of whole numbers: so many are the largest cost."""


def by_minimum_cut(differences: Sequence[float], borders: Mapping[tuple[int, int], float]) -> list[bool]:
    """Return which choices take their second value, for the least cost in all.

        min  sum_i difference_i x_i + sum_ij border_ij [x_i != x_j],    x binary

    `differences` are what the second value costs beyond the first, `borders` what it costs where two choices, by their
    places, take different values. It is the minimum cut of a graph whose source stands for the first value and whose
    sink for the second: no relaxation, and no order of the choices is assumed.

    >>> by_minimum_cut([-3.0, 1.0, -3.0], {(0, 1): 1.0, (1, 2): 1.0})
    [True, True, True]
    >>> by_minimum_cut([-3.0, 1.0, -3.0], {(0, 1): 0.1, (1, 2): 0.1})
    [True, False, True]

    Raises: DecisionError for a border that is below zero: then the problem is another, and hard.
    Paper: Greig, Porteous and Seheult 1989, Exact Maximum A Posteriori Estimation for Binary Images.
    """
    count = len(differences)
    if not all(cost >= 0 for cost in borders.values()):
        raise DecisionError(f"borders must cost at least 0; got {min(borders.values())!r}.")
    largest = max([abs(d) for d in differences] + list(borders.values()), default=0.0)
    if not largest:
        return [False] * count
    source, sink = count, count + 1
    capacity = np.zeros((count + 2, count + 2))
    for i, difference in enumerate(differences):
        capacity[source, i], capacity[i, sink] = max(difference, 0.0), max(-difference, 0.0)
    for (i, j), cost in borders.items():
        capacity[i, j] += cost
        capacity[j, i] += cost
    whole = csr_matrix(np.rint(capacity / largest * UNITS).astype(np.int32))
    left = whole - maximum_flow(whole, source, sink).flow
    left.eliminate_zeros()
    kept = set(breadth_first_order(left, source, return_predecessors=False).tolist())
    return [i not in kept for i in range(count)]
