"""An exact choice from tables: the least of one sum while others stay within their limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from whet.core.errors import DecisionError

Table = Sequence[Sequence[float]]
"""A number for each value of each choice."""


def by_bounded_programme(costs: Table, limits: Sequence[tuple[Table, float]]) -> list[int]:
    """Return the value of each choice that costs least in all while each table's sum is within its limit, by HiGHS.

        min  sum_cv cost_cv z_cv   s.t.  sum_cv t_cv z_cv <= limit_t for each table t,
        sum_v z_cv = 1 for each c,  z binary

    Raises: DecisionError if no selection is within all limits.

    >>> by_bounded_programme([[3, 1], [3, 2]], [([[0, 5], [0, 1]], 6), ([[1, 2], [1, 2]], 3)])
    [1, 0]
    """
    index = np.repeat(np.arange(len(costs)), [len(row) for row in costs])
    prices = _flat(costs)
    if not len(prices):
        return []
    one_hot = (index[None, :] == np.arange(len(costs))[:, None]).astype(float)
    within = [LinearConstraint(one_hot, 1, 1)]
    for table, limit in limits:
        # In units of the largest: HiGHS works to absolute tolerances.
        numbers = _flat(table)
        unit = max(float(np.abs(numbers).max()), abs(limit)) or 1.0
        within.append(LinearConstraint(numbers[None, :] / unit, -np.inf, limit / unit))
    with _silenced():
        solution = milp(
            prices / (float(np.abs(prices).max()) or 1.0),
            constraints=within,
            integrality=np.ones(len(prices)),
            bounds=Bounds(0, 1),
        )
    if solution.x is None:
        wanted = "; ".join(f"{limit:g}, of which {sum(map(min, t)):g} is the least" for t, limit in limits)
        raise DecisionError(f"no selection is within the limits: {wanted}.")
    return [int(np.argmax(solution.x[index == choice])) for choice in range(len(costs))]


def _flat(table: Table) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(row, float) for row in table] or [np.zeros(0)])


@contextmanager
def _silenced() -> Iterator[None]:
    """Send the process's standard output nowhere: HiGHS 1.12 prints a debugging line there that no option turns off.

    See https://github.com/ERGO-Code/HiGHS/issues/2783. It would end up in the midst of `--json`.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
