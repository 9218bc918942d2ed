"""`Recovery`: how small a drop will be after more training, and what it is worth to find out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

POWER = 0.5
BELIEVED = {(False, False): 0.5, (False, True): 0.4, (True, False): 0.75, (True, True): 0.25}
"""The power by whether training in earnest went before, and whether groups were narrowed, whose damage lasts.

Fits to 57 trainings of 15 searches on ResNet-20 and ResNet-44 give 0.52, 0.42, 1.0 (of 6) and 0.26 (of 8): what is left
of a narrower network's drop after training in earnest is for the most part what it lacks.
"""
PRIOR_WEIGHT = 2.0
POWERS = (0.0, 0.8)
SPREAD = 0.3
"""The standard deviation of a forecast drop, as a share of its distance from the best that training can reach."""
NOISE = 0.15
"""The standard deviation of a measured drop, as a share of the limit: validation data are a sample."""
LUCK = 2.0
"""How many times the noise the smallest of several drops lies below what it would be on all data."""
FLOOR = 0.25
"""Drops below this share of the limit are as good as none: how they shrink says nothing."""
SPARE = 0.9
"""The share of the limit that training may use up: finishers cost a little more."""

Pair = tuple[float, int, float, int]
"""A drop and the samples it was reached with, before a training and after."""


def mixed_samples(parts: Iterable[tuple[float, int]], power: float = POWER) -> int:
    """Return the samples n at which a drop made of (drop, samples) parts shrinks in the end as they do together.

        n^power = sum_i drop_i * n_i^power / sum_i drop_i

    A block dropped from a net that was long trained without others brings fresh damage beside what is left of theirs.

    >>> mixed_samples([(0.01, 160_000), (0.03, 10_000)])
    30625
    """
    parts = [(max(drop, 0.0), samples) for drop, samples in parts]
    total = sum(drop for drop, _ in parts)
    if not total:
        return max(samples for _, samples in parts)
    mean = sum(drop * math.pow(samples, power) for drop, samples in parts) / total
    return round(math.pow(mean, 1 / power))


def expected_best(odds: Iterable[tuple[float, float]]) -> float:
    """Return the largest of independent gains that is to be expected, from (chance, gain) pairs; 0 where none comes.

        E[max] = sum_i p_i g_i prod_(j: g_j > g_i) (1 - p_j)

    >>> expected_best([(0.5, 1.0), (0.5, 3.0)])
    1.75
    """
    expected, none = 0.0, 1.0
    for chance, gain in sorted(odds, key=lambda odd: -odd[1]):
        expected += none * chance * max(gain, 0.0)
        none *= 1 - chance
    return expected


@dataclass(frozen=True)
class Recovery:
    """A drop shrinks towards `-gain` with the samples n that a candidate was trained on: `drop + gain ~ n^-power`.

    The gain is what training on makes of a network whose reference was not trained to its end.
    """

    limit: float
    power: float = POWER
    gain: float = 0.0

    @classmethod
    def learnt(
        cls, limit: float, alike: Iterable[Pair], others: Iterable[Pair] = (), believed: float = POWER
    ) -> Recovery:
        """Return the forecast from (drop, samples) before and after trainings, beside the power `believed`.

        The power is learnt from those `alike`, the gain from all.
        """
        seen = list(alike)
        smallest = min((pair[2] for pair in (*seen, *others)), default=0.0)
        gain = max(0.0, -smallest - LUCK * NOISE * limit)
        total, weight = believed * PRIOR_WEIGHT, PRIOR_WEIGHT
        for drop, samples, later_drop, later_samples in seen:
            above = drop + gain
            if above > 2 * FLOOR * limit and later_samples > samples > 0:
                shrunk = math.log(above / max(later_drop + gain, FLOOR * limit))
                total += min(max(shrunk / math.log(later_samples / samples), POWERS[0]), POWERS[1])
                weight += 1
        return cls(limit, total / weight, gain)

    def expected(self, drop: float, samples: int, more: float) -> float:
        """Return the drop to expect after `more` samples.

        >>> Recovery(0.01, power=0.5).expected(0.04, 10_000, 150_000)
        0.01
        """
        above = max(drop + self.gain, 0.0)
        return float(above * (1 + more / max(samples, 1)) ** -self.power - self.gain)

    def mendable(self, samples: int, more: float) -> float:
        """Return the drop after `samples` that will be just within the limit after `more`.

        >>> round(Recovery(0.01, power=0.5).mendable(10_000, 150_000), 3)
        0.036
        """
        return float((SPARE * self.limit + self.gain) * (1 + more / max(samples, 1)) ** self.power - self.gain)

    def chance(self, drop: float, samples: int, more: float) -> float:
        """Return the probability that the drop is within the limit after `more` samples."""
        mean = self.expected(drop, samples, more)
        deviation = max(math.hypot(SPREAD * (mean + self.gain), NOISE * self.limit), 1e-9)
        return float(NormalDist(mean, deviation).cdf(SPARE * self.limit))

    def worth(self, speedup: float, best: float, drop: float, samples: int, more: float) -> float:
        """Return the speed-up to be expected over `best`: `P(within the limit) * max(speedup - best, 0)`.

        Paper: Schonlau, Welch and Jones 1998, Global versus Local Search in Constrained Optimization of Computer
        Models (the improvement times the probability of feasibility).
        """
        return self.chance(drop, samples, more) * max(speedup - best, 0.0)
