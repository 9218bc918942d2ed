"""A deep ensemble: the spread of networks that began differently is how unsure they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from whet.core.errors import StudyError
from whet.search.genes import Features, Vector

MEMBERS = 5
HIDDEN = (32, 32)


class Ensemble:
    """Five small networks of scikit-learn, each from its own start; mean and spread of their outputs.

    Paper: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, as
    a surrogate in Li et al. 2023 (P327). As there, members differ by their start alone, not by their data. Raises:
    StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0, members: int = MEMBERS) -> None:
        self.seed, self.members = seed, members
        self._models: list[Any] = []

    def fit(self, features: Features, values: Vector) -> Ensemble:
        """Learn from rows of features and their values."""
        from sklearn.neural_network import MLPRegressor

        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        targets = (values - self._mean) / self._scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a member stopped before it converged
            self._models = [
                MLPRegressor(
                    hidden_layer_sizes=HIDDEN, solver="lbfgs", alpha=1e-2, max_iter=200, random_state=self.seed + index
                ).fit(features, targets)
                for index in range(self.members)
            ]
        return self

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the mean and the standard deviation of the members for each row."""
        if not self._models:
            raise StudyError("the ensemble was asked before it had data.")
        outputs = np.array([m.predict(features) for m in self._models])
        mean: Vector = outputs.mean(0) * self._scale + self._mean
        deviation: Vector = outputs.std(0) * self._scale
        return mean, deviation
