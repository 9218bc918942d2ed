"""A made-up network that engines are tried on: blocks, widths and a precision that multiply and add up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from statistics import mean

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation, Strategy
from whet.decisions.pareto import hypervolume
from whet.search import strategies
from whet.testing.strategies import WIDTHS

NETWORK = Space(
    [
        *(Choice(f"block{i}:keep", (True, False), True) for i in range(6)),
        *(Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(6)),
        Choice("network:precision", ("f32", "bf16", "int8"), "f32"),
    ]
)
LIMIT = 0.1
PRECISIONS = {"f32": (1.0, 0.0), "bf16": (0.7, 0.001), "int8": (0.5, 0.02)}


def cost(decision: Decision) -> tuple[float, float]:
    """A speed-up and a drop: blocks and widths matter unequally, and a dropped block's width costs nothing."""
    factor, drop = PRECISIONS[str(decision.get("network:precision", "f32"))]
    latency = 1.0
    for i in range(6):
        width = float(decision.get(f"layer{i}:width", 1.0)) * bool(decision.get(f"block{i}:keep", True))
        latency += width * (1 + i % 3)
        drop += 0.01 * (1 + i) * (1 - width) ** 2
    return 13 / (latency * factor), drop


def each_area(strategy: Strategy, rounds: int) -> Iterator[float]:
    """Yield the hypervolume in log speed-up and drop after each measurement, within the limit."""
    points: list[tuple[float, float]] = []
    for _ in range(rounds):
        (decision,) = strategy.ask()
        speedup, drop = cost(decision)
        strategy.tell([Observation(decision, (speedup, drop), drop - LIMIT)])
        points.append((-math.log(speedup), drop))
        yield hypervolume(points, (0.0, LIMIT))


def areas(strategy: Strategy, rounds: int) -> list[float]:
    """Return the areas after each of so many measurements."""
    return list(each_area(strategy, rounds))


def beat_random_search(name: str, rounds: int = 60, seeds: int = 4) -> bool:
    """Say whether a strategy covers a larger area than random search, in the mean over seeds."""
    return covered(name, rounds, seeds) > covered("random", rounds, seeds)


@cache
def covered(name: str, rounds: int, seeds: int) -> float:
    """Return the area that a strategy covers in the mean over seeds; that of random search is asked for again."""
    return mean(areas(strategies.get(name, NETWORK, seed), rounds)[-1] for seed in range(seeds))
