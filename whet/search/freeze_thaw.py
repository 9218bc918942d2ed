"""Freeze-thaw: which of several trainings to go on with, from what their learning curves promise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import StudyError

Array = NDArray[np.float64]
Curve = Sequence[tuple[float, float]]
"""Points (share of the longest training, quality from 0 to 1), in any order; empty for one not yet begun."""
Key = TypeVar("Key", bound=Hashable)
DRAWS = 20_000
RESOLUTION = 0.01
"""How near to what was seen a drawn curve can be expected to lie: the prior is a finite number of curves."""


@dataclass(frozen=True)
class Prior:
    """Curves drawn from the prior, `DRAWS` of them: shapes, their parameters, and the noise around each.

        quality(t) = last - (last - first) * g(t),   g = (1 + k t)^-a  or  exp(-k t)

    with first and last quality uniform (a few curves fall), k log-uniform and a log-normal: steep and slow ones,
    those that go on rising and those that end early.
    """

    first: Array
    last: Array
    rate: Array
    power: Array
    exponential: NDArray[np.bool_]
    noise: Array

    @classmethod
    def drawn(cls, generator: np.random.Generator, count: int = DRAWS) -> Prior:
        """Draw a prior."""
        first = generator.uniform(0, 1, count)
        rises = generator.random(count) < 0.95
        last = np.where(rises, first + (1 - first) * generator.random(count), first * generator.random(count))
        return cls(
            first, last, np.exp(generator.uniform(np.log(0.3), np.log(300), count)),
            generator.lognormal(-0.5, 0.5, count), generator.random(count) < 0.3,
            np.exp(generator.uniform(np.log(0.002), np.log(0.05), count)),
        )  # fmt: skip

    def qualities(self, t: Array) -> Array:
        """Return every curve at every time, shape (draws, times)."""
        along = self.rate[:, None] * t[None]
        left = np.where(self.exponential[:, None], np.exp(-along), (1 + along) ** -self.power[:, None])
        found: Array = self.last[:, None] - (self.last - self.first)[:, None] * left
        return found

    def weights(self, curve: Curve) -> Array:
        """Return how probable each drawn curve is after what was seen of one; they add up to one."""
        if not curve:
            return np.full(len(self.first), 1 / len(self.first))
        t, seen = np.array([p[0] for p in curve]), np.array([p[1] for p in curve])
        spread = np.hypot(self.noise, RESOLUTION)
        error = (seen[None] - self.qualities(t)) / spread[:, None]
        log = -0.5 * (error**2).sum(1) - len(curve) * np.log(spread)
        likely: Array = np.exp(log - log.max())
        likely /= likely.sum()
        return likely


class FreezeThaw:
    """Chooses the training most likely to beat the best so far, at a random horizon and by a random margin.

        argmax over curves of  P(quality(t + h) > best + margin * (1 - best)),
        h ~ U(0, 1),  log10 margin ~ U(-4, -1),

    drawn once for each choice: far horizons and large margins look for what will be best in the end, near ones take
    what is safe, and no setting has to balance the two. The posterior of a curve is exact up to the number of draws:
    curves of the prior, weighed by how they fit.

    Paper: Rakotoarison et al. 2024, In-Context Freeze-Thaw Bayesian Optimization, whose transformer learns that
    posterior from draws of its prior, for curves that inform each other; here each curve stands for itself.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.prior = Prior.drawn(np.random.default_rng(seed))

    def choose(self, curves: Mapping[Key, Curve], step: int = 0) -> Key:
        """Return the key of the training to go on with; `step` makes the draw, so the same call chooses alike.

        Raises: StudyError without curves, or for qualities outside 0 to 1.
        """
        if not curves:
            raise StudyError("freeze-thaw was asked to choose among no trainings.")
        strange = [(k, q) for k, curve in curves.items() for _, q in curve if not 0 <= q <= 1]
        if strange:
            raise StudyError(f"qualities lie between 0 and 1; training {strange[0][0]!r} has {strange[0][1]!r}.")
        generator = np.random.default_rng((self.seed, step))
        horizon, margin = generator.random(), 10 ** generator.uniform(-4, -1)
        best = max((q for curve in curves.values() for _, q in curve), default=0.0)
        return max(curves, key=lambda k: self.chance(curves[k], horizon, best + margin * (1 - best)))

    def chance(self, curve: Curve, horizon: float, wanted: float) -> float:
        """Return the probability that a curve lies above `wanted` after `horizon` more, at most at the end."""
        reached = max((t for t, _ in curve), default=0.0)
        later = self.prior.qualities(np.array([min(reached + horizon, 1.0)]))[:, 0]
        return float(self.prior.weights(curve) @ (later > wanted))

    def interval(self, curve: Curve, t: float, share: float = 0.8) -> tuple[float, float]:
        """Return the interval that holds the curve's quality at `t` with probability `share`."""
        later, weights = self.prior.qualities(np.array([t]))[:, 0], self.prior.weights(curve)
        order = np.argsort(later)
        total = np.cumsum(weights[order])
        ends = [np.searchsorted(total, (1 - share) / 2), np.searchsorted(total, (1 + share) / 2)]
        low, high = (float(later[order[min(int(i), len(order) - 1)]]) for i in ends)
        return low, high
