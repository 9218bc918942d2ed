"""Bayesian optimisation of several objectives, with any surrogate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from whet.core.space import Decision, Space
from whet.decisions.pareto import Points, best, non_dominated
from whet.search.modelled import Modelled
from whet.search.predictors import surrogate

POOL = 400
DRAWS = 64


class Bayesian(Modelled):
    """Propose the decision of the largest expected hypervolume improvement under a surrogate of each objective.

    The expectation is over `DRAWS` draws of the surrogates' independent normal forecasts, for two objectives; with
    more or fewer, expected improvement of a randomly weighted sum takes its place. Where limits were broken, a
    surrogate of the violation multiplies it by the probability that they are met. Among the `POOL` decisions looked at
    are children of the measured front and random ones.

    `model` is a name in `whet.search.predictors.SURROGATES`. Papers: Li et al. 2023, A Study of Bayesian Neural Network
    Surrogates for Bayesian Optimization; Dernoncourt and Lee 2016; Emmerich et al. 2006, Single- and
    Multiobjective Evolutionary Optimization Assisted by Gaussian Random Field Metamodels (the improvement).
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        model: str = "gaussian-process", warm_up: int = 12,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        surrogate(model)
        self.model = model

    def candidates(self) -> Iterator[Decision]:
        """Yield drawn and mutated decisions, the largest expected improvement first."""
        seen, generator = self.ledger.measured(), self.generator()
        rows, values = self.rows(seen), self.objectives(seen)
        parents = rows[best(self.penalised(seen), 10)]
        pool = np.unique(
            np.concatenate([
                self.genes.children(parents, POOL // 2, generator), self.genes.random(POOL // 2, generator),
            ]), axis=0,
        )  # fmt: skip
        x, features = self.genes.features(pool), self.genes.features(rows)
        forecasts = [surrogate(self.model, self.ledger.seed).fit(features, column).predict(x) for column in values.T]
        mean, deviation = (np.stack(part, axis=1) for part in zip(*forecasts, strict=True))
        violations = self.violations(seen)
        allowed = violations <= 0
        worth = self._worth(mean, deviation, values[allowed] if allowed.any() else values[:0], values, generator)
        if violations.any():
            middle, spread = surrogate(self.model, self.ledger.seed).fit(features, violations).predict(x)
            worth = worth * norm.cdf(-middle / np.maximum(spread, 1e-9))
        order = np.argsort(-worth, kind="stable")
        yield from (self.genes.decision(row) for row in pool[order])

    @staticmethod
    def _worth(
        mean: Points, deviation: Points, allowed: Points, values: Points, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the expected improvement of each candidate over the measurements within the limits."""
        low, span = values.min(0), np.maximum(np.ptp(values, axis=0), 1e-12)
        mean, deviation, allowed = (mean - low) / span, deviation / span, (allowed - low) / span
        drawn = mean + deviation * generator.standard_normal((DRAWS, *mean.shape))
        if mean.shape[1] == 2:
            return expected_improvement(drawn, allowed, (1.1, 1.1))
        weights = generator.dirichlet(np.ones(mean.shape[1]))
        least = float((allowed @ weights).min()) if len(allowed) else 1.1
        gained: NDArray[np.float64] = np.maximum(least - drawn @ weights, 0.0).mean(0)
        return gained


def expected_improvement(drawn: Points, measured: Points, reference: tuple[float, float]) -> NDArray[np.float64]:
    """Return by how much each candidate enlarges the measured front: the mean over `drawn`, (draws, candidates, 2)."""
    front = measured[non_dominated(measured.tolist())]
    gains = improvement(drawn.reshape(-1, 2), front, reference).reshape(len(drawn), -1)
    return np.asarray(gains.mean(0))


def improvement(points: Points, front: Points, reference: tuple[float, float]) -> NDArray[np.float64]:
    """Return by how much each point would enlarge the area between a front of two objectives and `reference`.

    The area left of the reference is cut into the vertical stripes between the front's points; in the stripe from x_i
    to x_i+1 the front reaches down to y_i, so a point (a, b) gains `max(x_i+1 - max(x_i, a), 0) * max(y_i - b, 0)`.

    >>> improvement(np.array([[0.5, 0.5], [3.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), (2.0, 2.0)).tolist()
    [0.25, 0.0]
    """
    ordered = front[np.lexsort((front[:, 1], front[:, 0]))] if len(front) else front
    edges = np.concatenate([[-np.inf], ordered[:, 0], [reference[0]]])
    heights = np.concatenate([[reference[1]], np.minimum(ordered[:, 1], reference[1])])
    left = np.maximum(edges[None, :-1], points[:, :1])
    width = np.maximum(np.minimum(edges[None, 1:], reference[0]) - left, 0.0)
    gained: NDArray[np.float64] = (width * np.maximum(heights[None] - points[:, 1:], 0.0)).sum(1)
    return gained
