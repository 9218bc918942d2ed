"""The rungs of an elastic search: nested decisions that are trained at once, planned by what probes found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from whet.core.space import Decision
from whet.decisions.distance import distance
from whet.decisions.planner import Planner

RUNGS = 6
NOISE = 0.15
"""The share of a rung's gain that a short chain forgoes for less damage: probes do not time one block any better."""


def planned(strategy: Planner) -> tuple[list[Decision], list[Decision]]:
    """Return a chain of at most `RUNGS` rungs and, for what it lacks of them, rivals of its last one.

    The chain goes from the damage that any training mends to the strategy's largest. A rival extends the rung before
    the last by other choices. Where choices are coarse, a rung is one of them: what it loses untrained says little
    about which of two that gain alike is the better after training.
    """
    budgets = _budgets(strategy)
    chain = strategy.chain(budgets)
    if not chain or len(chain) == RUNGS:
        return chain, []
    chain = strategy.chain(budgets, NOISE)
    before, last = [Decision(), *chain][-2:]
    return chain, strategy.extensions(before, _step(budgets), RUNGS - len(chain), last, NOISE)


def beyond(strategy: Planner, rung: Decision) -> list[Decision]:
    """Return the rung that comes after one, if there is any."""
    return strategy.extensions(rung, _step(_budgets(strategy)), 1, forgone=NOISE)


def best_last(strategy: Planner, rungs: Sequence[Decision], last: int, drops: Sequence[float], noise: float) -> int:
    """Return the place of the best among `rungs` from the place `last` on: the last of a chain and its rivals.

    It is that of the largest gain for its drop, both beyond the rung before; a drop within the noise counts as that.
    """
    before, drop = (rungs[last - 1], drops[last - 1]) if last else (Decision(), 0.0)
    rates = [
        (strategy.log_latency(before) - strategy.log_latency(rung)) / max(found - drop, noise)
        for rung, found in zip(rungs[last:], drops[last:], strict=True)
    ]
    return last + rates.index(max(rates))


def _budgets(strategy: Planner) -> list[float]:
    """Return the damage that each rung may do; none where the whole space does none."""
    furthest = Decision({c.name: max(c.values, key=partial(distance, c)) for c in strategy.space})
    high = min(strategy.budgets[1], strategy.drop(furthest))
    low = min(strategy.budgets[0], high / 10)
    return [low * (high / low) ** (i / (RUNGS - 1)) for i in range(RUNGS)] if high else []


def _step(budgets: Sequence[float]) -> float:
    """Return what the last rung may do beyond the one before."""
    return budgets[-1] - budgets[-2]
