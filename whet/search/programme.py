"""Exact selection from tables of per-choice costs and damages: an integer programme and a dynamic programme."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import DecisionError
from whet.decisions.bounded import Table, by_bounded_programme


def by_integer_programme(costs: Table, damages: Table, budget: float) -> list[int]:
    """Return the value of each choice that costs least in all while the damage is within `budget`, by HiGHS.

        min  sum_cv cost_cv z_cv   s.t.  sum_cv damage_cv z_cv <= budget,  sum_v z_cv = 1 for each c,  z binary

    Raises: DecisionError if no selection is within the budget.

    >>> by_integer_programme([[3, 1], [3, 2]], [[0, 5], [0, 1]], budget=5)
    [1, 0]
    """
    try:
        return by_bounded_programme(costs, [(damages, budget)])
    except DecisionError:
        least = sum(min(row) for row in damages)
        raise DecisionError(f"no selection has a damage within {budget:g}; the least is {least:g}.") from None


def by_dynamic_programme(costs: Table, damages: Table, budget: float, steps: int = 1000) -> list[int]:
    """Return the value of each choice that does least damage in all while the cost is within `budget`.

    The budget is cut into `steps`; costs are rounded up to whole steps, so the result is within the budget, and best
    among those whose rounded costs are. With D[c, t] the least damage of the first c choices at a cost of t steps,

        D[c, t] = min_v D[c - 1, t - cost_cv] + damage_cv,

    in `O(values * steps)`: how LayerMerge chooses what goes under a latency budget (Kim et al. 2024, LayerMerge: Neural
    Network Depth Compression through Layer Pruning and Merging).

    Raises: DecisionError if no selection is within the budget.

    >>> by_dynamic_programme([[3, 1], [3, 2]], [[0, 5], [0, 1]], budget=5)
    [0, 1]
    """
    if budget < 0 or not np.isfinite(budget):
        raise DecisionError(f"a budget is a number of at least 0; got {budget!r}.")
    unit = budget / steps if budget > 0 else 1.0
    least: NDArray[np.float64] = np.zeros(steps + 1)
    taken: list[NDArray[np.int64]] = []
    for row, harm in zip(costs, damages, strict=True):
        options = np.full((len(row), steps + 1), np.inf)
        for value, (cost, damage) in enumerate(zip(row, harm, strict=True)):
            rounded = int(np.ceil(max(cost, 0.0) / unit - 1e-9))
            if rounded <= steps:
                options[value, rounded:] = least[: steps + 1 - rounded] + damage
        taken.append(options.argmin(0))
        least = options.min(0)
    if not np.isfinite(least[steps]):
        cheapest = sum(min(row) for row in costs)
        raise DecisionError(f"no selection costs at most {budget:g}; the cheapest costs {cheapest:g}.")
    left, chosen = steps, []
    for row, values in zip(reversed(list(costs)), reversed(taken), strict=True):
        value = int(values[left])
        chosen.append(value)
        left -= int(np.ceil(max(row[value], 0.0) / unit - 1e-9))
    return chosen[::-1]
