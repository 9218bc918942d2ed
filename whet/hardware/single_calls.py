"""Latency as a service feels it: every single call counts, and the slowest of a hundred have a name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt

from whet.core.errors import TargetError
from whet.hardware.elsewhere import machine_of
from whet.hardware.measure import Call, alone, no_collection, wait_idle

LEAST_CALLS, MOST_CALLS = 200, 100_000
"""How many calls are timed at least, so that two are slower than the 99th percentile, and at most."""
WARM_CALLS = 3
Z = 1.96
"""Standard deviations on either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class SingleCalls:
    """The seconds of single calls, one after the other, in rising order."""

    seconds: tuple[float, ...]

    def percentile_ms(self, q: float) -> tuple[float, float, float]:
        """Return the q-th percentile in ms with the ends of its 95 % interval.

        The k-th of n calls in rising order, k = ceil(q n / 100); the interval's ends are those at q n / 100 -+ 1.96
        sqrt(n q / 100 (1 - q / 100)), whatever the distribution is (the binomial distribution of how many calls are
        faster).

        >>> SingleCalls(tuple(n / 1000 for n in range(1, 101))).percentile_ms(50)
        (50.0, 40.0, 60.0)
        """
        count, share = len(self.seconds), q / 100
        half = Z * sqrt(count * share * (1 - share))
        ranks = ceil(share * count), floor(share * count - half), ceil(share * count + half)
        middle, low, high = (1e3 * self.seconds[min(max(rank, 1), count) - 1] for rank in ranks)
        return middle, low, high

    @property
    def figures(self) -> dict[str, float]:
        """The median, the 95th and the 99th percentile in ms, and how many calls they are of."""
        found = {f"p{q}_ms": self.percentile_ms(q)[0] for q in (50, 95, 99)}
        return {**found, "calls": len(self.seconds)}


def single_calls(call: Call, seconds: float = 2.0, least: int = LEAST_CALLS, most: int = MOST_CALLS) -> SingleCalls:
    """Time single calls, warmed up, for `seconds` and at least `least` times; no other measurement runs meanwhile.

    Raises: TargetError for no time or no call.
    """
    if seconds <= 0 or least < 1:
        raise TargetError(f"single calls take time: got {seconds} and {least} for seconds and least.")
    if (machine := machine_of(call)) is not None:
        return SingleCalls(tuple(sorted(machine.single_calls(call, seconds, least, most))))
    taken: list[float] = []
    clock = time.perf_counter
    with alone(), no_collection():
        wait_idle()
        for _ in range(WARM_CALLS):
            call()
        start = clock()
        until = start + seconds
        while len(taken) < most and (start < until or len(taken) < least):
            call()
            now = clock()
            taken.append(now - start)
            start = now
    return SingleCalls(tuple(sorted(taken)))


def spread_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of a few repeated measurements, the least and the largest.

    >>> spread_of([3.0, 1.0, 2.0])
    (2.0, 1.0, 3.0)
    """
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2], ordered[0], ordered[-1]
