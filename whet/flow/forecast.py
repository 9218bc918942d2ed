"""`Recovery`: how small a drop will be after more training, and what it is worth to find out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

POWER = 0.5
PRIOR_WEIGHT = 2.0
POWERS = (0.2, 0.8)
SPREAD = 0.3
"""The standard deviation of a forecast drop, as a share of it."""
NOISE = 0.15
"""The standard deviation of a measured drop, as a share of the limit: validation data are a sample."""
FLOOR = 0.25
"""Drops below this share of the limit are as good as none: how they shrink says nothing."""
SPARE = 0.9
"""The share of the limit that training may use up: int8 costs a little more."""


@dataclass(frozen=True)
class Recovery:
    """A drop shrinks with the samples n that a candidate was trained on as n^-power.

    Measured on ResNet-20 without three blocks 0.48, on ResNet-44 without twelve 0.44.
    """

    limit: float
    power: float = POWER

    @classmethod
    def learnt(cls, limit: float, pairs: Iterable[tuple[float, int, float, int]]) -> Recovery:
        """Return the forecast from (drop, samples) before and after a training, beside what was seen elsewhere."""
        total, weight = POWER * PRIOR_WEIGHT, PRIOR_WEIGHT
        for drop, samples, later_drop, later_samples in pairs:
            if drop > 2 * FLOOR * limit and later_samples > samples > 0:
                shrunk = math.log(drop / max(later_drop, FLOOR * limit))
                total += min(max(shrunk / math.log(later_samples / samples), POWERS[0]), POWERS[1])
                weight += 1
        return cls(limit, total / weight)

    def expected(self, drop: float, samples: int, more: float) -> float:
        """Return the drop to expect after `more` samples.

        >>> Recovery(0.01, power=0.5).expected(0.04, 10_000, 150_000)
        0.01
        """
        return float(max(drop, 0.0) * (1 + more / max(samples, 1)) ** -self.power)

    def mendable(self, samples: int, more: float) -> float:
        """Return the drop after `samples` that will be just within the limit after `more`.

        >>> Recovery(0.01, power=0.5).mendable(10_000, 150_000)
        0.036
        """
        return float(SPARE * self.limit * (1 + more / max(samples, 1)) ** self.power)

    def chance(self, drop: float, samples: int, more: float) -> float:
        """Return the probability that the drop is within the limit after `more` samples."""
        mean = self.expected(drop, samples, more)
        deviation = max(math.hypot(SPREAD * mean, NOISE * self.limit), 1e-9)
        return float(NormalDist(mean, deviation).cdf(SPARE * self.limit))

    def worth(self, speedup: float, best: float, drop: float, samples: int, more: float) -> float:
        """Return the speed-up to be expected over `best`: `P(within the limit) * max(speedup - best, 0)`.

        Paper: Schonlau, Welch and Jones 1998, Global versus Local Search in Constrained Optimization of Computer
        Models (the improvement times the probability of feasibility).
        """
        return self.chance(drop, samples, more) * max(speedup - best, 0.0)
