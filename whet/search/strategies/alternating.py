"""Evolution on light predictors, alternating with measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.decisions.genes import Rows
from whet.decisions.pareto import Points, best, ranks
from whet.search.modelled import PENALTY, Modelled
from whet.search.predictors.regression import Regression

POPULATION = 64


class Alternating(Modelled):
    """Measure a few candidates, learn light predictors, evolve on them, measure the best of the evolved; repeat.

    After `warm_up` random candidates, every `every` further ones: (1) one regression per objective is fitted to all
    measurements; (2) NSGA-II runs for `generations` on the regressions, beginning with the measured front; (3) of its
    first front those are proposed that lie farthest from what was measured. Nothing depends on where the numbers come
    from: any super-network, any device, any number of objectives, each with the predictor of its place in
    `predictors` (the last one again for those beyond). Broken limits are learnt as one more objective and added to
    all forecasts as a penalty.

    Papers: Sarah et al. 2022, A Hardware-Aware System for Accelerating Deep Neural Network Optimization; Cummings et
    al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across Modalities. They measure a
    whole population of 50 between two fits; with `every` = 4 a search of tens of measurements alternates, too.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        predictors: Sequence[str] = ("svr", "ridge-pairs"), warm_up: int = 12, every: int = 4, generations: int = 30,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        self.predictors, self.every, self.generations = predictors, every, generations
        self._evolved: tuple[object, list[Decision]] = (None, [])

    def candidates(self) -> list[Decision]:
        """Return what the evolution on the predictors found, from the measurements before the current batch."""
        begun = self.warm_up + (len(self.ledger.entries) - self.warm_up) // self.every * self.every
        seen = self.ledger.measured(begun)
        key = (begun, tuple(seen))
        if self._evolved[0] != key:
            self._evolved = (key, self._evolve(seen, begun) if len(seen) > 1 else [])
        return self._evolved[1]

    def _evolve(self, seen: Sequence[Observation], begun: int) -> list[Decision]:
        generator = np.random.default_rng((self.ledger.seed, begun))
        rows, values, violations = self.rows(seen), self.objectives(seen), self.violations(seen)
        features = self.genes.features(rows)
        models = [Regression(self._kind(i)).fit(features, column) for i, column in enumerate(values.T)]
        limit = Regression(self._kind(len(models))).fit(features, violations) if violations.any() else None

        def forecast(population: Rows) -> Points:
            x = self.genes.features(population)
            objectives = np.stack([m.predict(x) for m in models], axis=1)
            if limit is None:
                return objectives
            penalty: Points = PENALTY * np.maximum(limit.predict(x), 0.0)[:, None] * np.ptp(values, axis=0)
            return objectives + penalty

        front = rows[best(self.penalised(seen), POPULATION // 2)]
        population = np.concatenate([front, self.genes.random(POPULATION - len(front), generator)])
        for _ in range(self.generations):
            born = self.genes.children(population, POPULATION, generator)
            both = np.unique(np.concatenate([population, born]), axis=0)
            population = both[best(forecast(both), POPULATION)]
        first = population[ranks(forecast(population)) == 0]
        picked = apart(forecast(first), values, 2 * self.every)
        return [self.genes.decision(row) for row in (*first[picked], *population)]

    def _kind(self, objective: int) -> str:
        return self.predictors[min(objective, len(self.predictors) - 1)]


def apart(points: Points, known: Points, count: int) -> list[int]:
    """Return the indices of `count` points, each the farthest from those known and those returned before it.

    >>> apart(np.array([[0.0], [0.9], [0.6]]), np.array([[0.0], [1.0]]), 2)
    [2, 1]
    """
    low, span = known.min(0), np.maximum(np.ptp(known, axis=0), 1e-12)
    points, known = (points - low) / span, (known - low) / span
    distance = np.linalg.norm(points[:, None] - known[None], axis=-1).min(1)
    picked: list[int] = []
    for _ in range(min(count, len(points))):
        picked.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[picked[-1]], axis=-1))
    return picked
