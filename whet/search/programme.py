"""Exact selection from tables of per-choice costs and damages: an integer programme and a dynamic programme."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import DecisionError
from whet.decisions.bounded import Table, by_bounded_programme

MOST_KEPT = 20_000
"""Selections that no other beats: some dozens for the choices of a network, of which costs and damages add up."""
ROUNDING = 1e-9
"""The share of the budget by which a sum may be above it."""


def by_integer_programme(costs: Table, damages: Table, budget: float) -> list[int]:
    """Return the value of each choice that costs least in all while the damage is within `budget`.

        min  sum_cv cost_cv z_cv   s.t.  sum_cv damage_cv z_cv <= budget,  sum_v z_cv = 1 for each c,  z binary

    Choice by choice, selections are kept that no other beats in cost and damage: exact, and ten times as fast as HiGHS,
    which takes over where these become many. Raises: DecisionError if no selection is within the budget.

    >>> by_integer_programme([[3, 1], [3, 2]], [[0, 5], [0, 1]], budget=5)
    [1, 0]
    """
    try:
        found = _undominated(costs, damages, budget)
        return by_bounded_programme(costs, [(damages, budget)]) if found is None else found
    except DecisionError:
        least = sum(min(row) for row in damages)
        raise DecisionError(f"no selection has a damage within {budget:g}; the least is {least:g}.") from None


def _undominated(costs: Table, damages: Table, budget: float) -> list[int] | None:
    """Return the value of each choice, or None where too many selections are kept."""
    cost, damage = np.zeros(1), np.zeros(1)
    least = [min(row) for row in damages]
    within = budget + ROUNDING * abs(budget)
    kept: list[NDArray[np.int64]] = []
    for index, (row, harm) in enumerate(zip(costs, damages, strict=True)):
        costs_all = np.add.outer(cost, np.asarray(row, float)).ravel()
        damages_all = np.add.outer(damage, np.asarray(harm, float)).ravel()
        order = np.lexsort((costs_all, damages_all))
        order = order[damages_all[order] + sum(least[index + 1 :]) <= within]
        if not len(order):
            raise DecisionError("no selection is within the budget.")
        ordered = costs_all[order]
        order = order[np.concatenate([[True], ordered[1:] < np.minimum.accumulate(ordered)[:-1]])]
        if len(order) > MOST_KEPT:
            return None
        kept.append(order)
        cost, damage = costs_all[order], damages_all[order]
    place, chosen = int(cost.argmin()), []
    for order, row in zip(reversed(kept), reversed(list(costs)), strict=True):
        place, value = divmod(int(order[place]), len(row))
        chosen.append(value)
    return chosen[::-1]


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
