"""A forecast of damage that need not add up: many cuts may do more harm together than the sum of each alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from whet.core.space import Decision, Space
from whet.search.predictors.linear import LinearForecast, Vector

POWERS = (1.0, 0.85, 0.7, 0.6, 0.5)
"""One is a sum; at a half, twice as many cuts do four times the damage."""
LEAST = 5
"""Below so many measurements damage is taken to add up."""
FOLDS = 5
NOISE = 0.15
"""The standard deviation of a measurement, as a share of the mean, after raising to the power."""
FLOOR = 0.3
"""The standard deviation of an effect of none, as a share of the mean effect."""


class PowerForecast:
    """Bayesian ridge regression on a power of the damage: what adds up is `damage^q`.

        damage(d) = (sum_i effect_i * distance_i(d)) ^ (1 / q)

    q is the one of `POWERS` whose forecasts of left-out measurements have the least mean |log(forecast / measured)|. On
    ResNet-44, whose damage after short training goes with the square of the number of blocks dropped, that error is
    0.19 where a sum has 0.26 (53 candidates of six searches, each forecast from those before it); on ResNet-20, where
    few blocks are dropped, the sum is chosen most of the time.
    """

    def __init__(self, space: Space) -> None:
        self.linear = LinearForecast(space, noise=0.01, floor=0.005, scale_prior=True)
        self.prior: Vector = self.linear.prior.copy()
        self.power = 1.0

    @property
    def mean(self) -> Vector:
        """The posterior mean of the effects, (features,), on the power of the damage."""
        return self.linear.mean

    def draw(self, generator: np.random.Generator) -> Vector:
        """Return one draw of the effects on the damage's power."""
        return self.linear.draw(generator)

    def raised(self, damage: float) -> float:
        """Return what is compared with sums of effects: `damage^q`."""
        return math.pow(max(damage, 0.0), self.power)

    def lowered(self, total: float) -> float:
        """Return the damage that a sum of effects stands for."""
        return math.pow(max(total, 0.0), 1 / self.power)

    def __call__(self, decision: Decision) -> float:
        return self.lowered(self.linear(decision))

    def shape(self, distances: Mapping[str, Sequence[float]]) -> None:
        """Take other distances for the named choices, one a value in the order of `Choice.values`, in [0, 1]."""
        self.linear.shape(distances)

    def effects(self, slopes: Vector) -> list[list[float]]:
        """Return the effect of each value of each choice on the damage's power, from those per unit of distance."""
        return self.linear.effects(slopes)

    def believe(self, effects: Mapping[str, float]) -> None:
        """Set the prior effect of each named choice on the damage itself; the others are as large as the mean."""
        self.linear.believe(effects)
        self.prior = self.linear.prior.copy()

    def fit(self, decisions: Sequence[Decision], values: Sequence[float]) -> None:
        """Choose the power and update the effects by all measurements so far."""
        self.power = 1.0
        if len(decisions) >= LEAST:
            self.power = min(POWERS, key=lambda q: self._error(q, decisions, values))
        self._fit(self.power, decisions, values)

    def _fit(self, power: float, decisions: Sequence[Decision], values: Sequence[float]) -> None:
        self.power = power
        self.linear.prior = np.sign(self.prior) * np.abs(self.prior) ** power
        raised = [self.raised(v) for v in values]
        typical = float(np.abs(self.linear.prior).sum()) / max(len(self.prior), 1)
        moved = sum(float(self.linear.features(d).sum()) for d in decisions)
        if any(raised) and moved:
            self.linear.noise = NOISE * float(np.mean(raised))
            typical = sum(raised) / moved
        self.linear.floor = (FLOOR if self.prior.any() else 1.0) * typical or 0.005
        self.linear.fit(decisions, raised)

    def _error(self, power: float, decisions: Sequence[Decision], values: Sequence[float]) -> float:
        """Return the mean |log(forecast / measured)| of measurements left out of the fit, in folds."""
        least = 0.05 * float(np.median(np.abs(values))) + 1e-9
        found = []
        for fold in range(FOLDS):
            kept = [i for i in range(len(values)) if i % FOLDS != fold]
            self._fit(power, [decisions[i] for i in kept], [values[i] for i in kept])
            for i in range(fold, len(values), FOLDS):
                found.append(abs(math.log(max(self(decisions[i]), least) / max(values[i], least))))
        return float(np.mean(found))
