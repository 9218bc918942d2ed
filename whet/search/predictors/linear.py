"""A linear forecast of one number from a decision, refitted with each measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Choice, Decision, Space, Value
from whet.decisions.distance import distance

Vector = NDArray[np.float64]


class LinearForecast:
    """Bayesian ridge regression on the distances of a decision's choices from their identities.

    The forecast is `sum_i effect_i * distance_i`; the identity's forecast is zero. Where it is known how the values of
    a choice compare, `shape` tells distances for these to be taken instead. `prior` holds the effects that
    are believed before any measurement, each with standard deviation `belief * |prior| + floor`; measurements have
    standard deviation `noise`. `scale_prior` multiplies the whole prior by the one factor that fits the
    measurements best, which carries sensitivities over from one fidelity to another (from untrained to trained).
    """

    def __init__(
        self, space: Space, noise: float, floor: float, belief: float = 0.5, scale_prior: bool = False
    ) -> None:
        self.choices = list(space)
        self.space = space
        self.noise, self.floor, self.belief, self.scale_prior = noise, floor, belief, scale_prior
        self.prior: Vector = np.zeros(len(self.choices))
        self.mean: Vector = self.prior.copy()
        self.covariance: NDArray[np.float64] = np.eye(len(self.choices)) * floor**2
        self._known: dict[Decision, Vector] = {}
        self.distances = {c.name: [distance(c, v) for v in c.values] for c in self.choices}

    def shape(self, distances: Mapping[str, Sequence[float]]) -> None:
        """Take other distances for the named choices, one a value in the order of `Choice.values`, in [0, 1]."""
        self.distances |= {name: list(row) for name, row in distances.items()}
        self._known.clear()

    def distance(self, choice: Choice, value: Value) -> float:
        """Return how far `value` is from the choice's identity, in [0, 1]."""
        return self.distances[choice.name][choice.values.index(value)]

    def effects(self, slopes: Vector) -> list[list[float]]:
        """Return the effect of each value of each choice, from each choice's effect per unit of distance."""
        return [[float(e) * d for d in self.distances[c.name]] for c, e in zip(self.choices, slopes, strict=True)]

    def features(self, decision: Decision) -> Vector:
        """Return the distances of the decision's choices, worked out once: each measurement refits all of them."""
        if decision not in self._known:
            active = (self.distance(c, decision.of(c)) if self.space.active(c, decision) else 0.0 for c in self.choices)
            self._known[decision] = np.array(list(active))
        return self._known[decision]

    def believe(self, effects: Mapping[str, float]) -> None:
        """Set the prior effect of each named choice; the others are as large as the mean of these."""
        rest = float(np.mean(list(effects.values()))) if effects else 0.0
        self.prior = np.array([effects.get(c.name, rest) for c in self.choices])
        self.fit([], [])

    def fit(self, decisions: Sequence[Decision], values: Sequence[float]) -> None:
        """Update the effects by all measurements so far."""
        prior: Vector = self.prior
        x = np.stack([self.features(d) for d in decisions]) if decisions else np.zeros((0, len(self.choices)))
        y = np.asarray(values, dtype=np.float64)
        if self.scale_prior and len(y):
            forecast = x @ prior
            factor = float(forecast @ y) / max(float(forecast @ forecast), 1e-12)
            prior = prior * min(max(factor, 0.01), 10.0)
        deviation: Vector = self.belief * np.absolute(prior) + self.floor
        precision: NDArray[np.float64] = np.diag(np.power(deviation, -2.0))
        self.covariance[:] = np.linalg.inv(precision + x.T @ x / self.noise**2)
        self.mean[:] = self.covariance @ (precision @ prior + x.T @ y / self.noise**2)

    def __call__(self, decision: Decision) -> float:
        return float(self.features(decision) @ self.mean)

    def draw(self, generator: np.random.Generator) -> Vector:
        """Return one draw of the effects from the posterior, for Thompson sampling."""
        return self.mean + np.linalg.cholesky(self.covariance) @ generator.standard_normal(len(self.mean))
