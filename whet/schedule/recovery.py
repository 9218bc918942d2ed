"""`Recovery`: how small a drop will be after more training, and what it is worth to find out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

POWER = 0.5
BELIEVED = {(False, False): 0.5, (False, True): 0.33, (True, False): 0.75, (True, True): 0.25}
"""The power by whether training in earnest went before, and whether groups were narrowed, whose damage lasts.

Fits to 57 trainings of 15 searches on ResNet-20 and ResNet-44 give 0.52, 0.42, 1.0 (of 6) and 0.26 (of 8): what is left
of a narrower network's drop after training in earnest is for the most part what it lacks. Of repaired candidates near
the limit less is mended: drops of about 2 % of ResNet-20 by powers of 0.25 and 0.21, of a perceptron by 0.26 to 0.43.
"""
SHIFTS = tuple(round(0.05 * i, 2) for i in range(-6, 13))
"""By how much a network's power may differ from the believed one, alike for all kinds of its trainings."""
UNLIKE = 0.15
"""The standard deviation of that difference."""
GAINS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""What training on may make of the reference, in shares of the limit."""
USUAL_GAIN = 0.25
"""How fast the belief in a gain falls with it: by e for each such share of the limit."""
UNLIKELY = 1e-4
"""The weight below which a belief is left out."""
SPREAD = 0.3
"""The standard deviation of a forecast drop, as a share of its distance from the best that training can reach."""
NOISE = 0.15
"""The standard deviation of a measured drop, as a share of the limit: validation data are a sample."""
SPARE = 0.9
"""The share of the limit that training may use up: finishers cost a little more."""

Pair = tuple[float, int, float, int]
"""A drop and the samples it was reached with, before a training and after."""
Point = tuple[float, float, float]
"""A power, a gain, and how much is believed of the two."""


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

    The gain is what training on makes of a network whose reference was not trained to its end. `points` say how much is
    believed of each power and gain; their weights sum to one.
    """

    limit: float
    points: tuple[Point, ...] = ((POWER, 0.0, 1.0),)

    @classmethod
    def of(cls, limit: float, power: float = POWER, gain: float = 0.0) -> Recovery:
        """Return the forecast by one power and one gain."""
        return cls(limit, ((power, gain, 1.0),))

    @classmethod
    def learnt(cls, limit: float, seen: Iterable[tuple[Pair, float]], believed: float = POWER) -> Recovery:
        """Return the forecast by what trainings did: (drop, samples) before and after each, with its kind's power.

            p(shift, gain | seen) ~ N(shift; 0, 0.15) exp(-gain / (limit / 4)) prod_i N(after_i; expected_i, spread_i)

        One shift of the believed powers holds for all trainings of a network. A drop that ended in the noise of the
        validation data says no more than that: its spread is as wide as the noise.
        """
        trainings = [(*pair, power) for pair, power in seen]
        found = []
        for shift, share in product(SHIFTS, GAINS):
            gain = share * limit
            log = -0.5 * (shift / UNLIKE) ** 2 - share / USUAL_GAIN
            for drop, samples, later, later_samples, power in trainings:
                law = cls.of(limit, max(power + shift, 0.0), gain)
                mean = law.expected(drop, samples, later_samples - samples)
                spread = law.spread(mean)
                log -= 0.5 * ((later - mean) / spread) ** 2 + math.log(spread)
            found.append((max(believed + shift, 0.0), gain, log))
        best = max(log for *_, log in found)
        weighed = [(power, gain, math.exp(log - best)) for power, gain, log in found]
        total = sum(weight for *_, weight in weighed)
        kept = [(power, gain, weight / total) for power, gain, weight in weighed if weight > UNLIKELY * total]
        rest = sum(weight for *_, weight in kept)
        return cls(limit, tuple((power, gain, weight / rest) for power, gain, weight in kept))

    @property
    def power(self) -> float:
        """The mean power."""
        return sum(weight * power for power, _, weight in self.points)

    @property
    def gain(self) -> float:
        """The mean gain, in the drop's unit."""
        return sum(weight * gain for _, gain, weight in self.points)

    def expected(self, drop: float, samples: int, more: float) -> float:
        """Return the drop to expect after `more` samples.

        >>> Recovery.of(0.01, power=0.5).expected(0.04, 10_000, 150_000)
        0.01
        """
        return sum(weight * mean for mean, _, weight in self._ends(drop, samples, more))

    def mendable(self, samples: int, more: float) -> float:
        """Return the drop after `samples` that will be just within the limit after `more`.

        >>> round(Recovery.of(0.01, power=0.5).mendable(10_000, 150_000), 3)
        0.036
        """
        growth = 1 + more / max(samples, 1)
        shrunk = [(weight * growth**-power, gain, weight) for power, gain, weight in self.points]
        made_up = sum(share * gain - weight * gain for share, gain, weight in shrunk)
        return float((SPARE * self.limit - made_up) / sum(share for share, *_ in shrunk))

    def chance(self, drop: float, samples: int, more: float) -> float:
        """Return the probability that the drop is within the limit after `more` samples."""
        ends = self._ends(drop, samples, more)
        within = SPARE * self.limit
        return sum(weight * NormalDist(mean, self._spread(mean, gain)).cdf(within) for mean, gain, weight in ends)

    def spread(self, mean: float) -> float:
        """Return the standard deviation of a drop about its forecast."""
        return self._spread(mean, self.gain)

    def worth(self, speedup: float, best: float, drop: float, samples: int, more: float) -> float:
        """Return the speed-up to be expected over `best`: `P(within the limit) * max(speedup - best, 0)`.

        Paper: Schonlau, Welch and Jones 1998, Global versus Local Search in Constrained Optimization of Computer
        Models (the improvement times the probability of feasibility).
        """
        return self.chance(drop, samples, more) * max(speedup - best, 0.0)

    def _ends(self, drop: float, samples: int, more: float) -> list[Point]:
        """Return the forecast drop, the gain and the weight of each belief."""
        growth = 1 + more / max(samples, 1)
        return [(max(drop + gain, 0.0) * growth**-power - gain, gain, weight) for power, gain, weight in self.points]

    def _spread(self, mean: float, gain: float) -> float:
        return max(math.hypot(SPREAD * (mean + gain), NOISE * self.limit), 1e-9)
