"""A Gaussian process with a Matern kernel."""

from __future__ import annotations

import warnings
from typing import Any

from whet.core.errors import StudyError
from whet.search.genes import Features, Vector


class GaussianProcess:
    """Gaussian-process regression by scikit-learn: Matern 5/2 plus noise, scales by maximum likelihood.

    Paper: Dernoncourt and Lee 2016, Optimizing Neural Network Hyperparameters with Gaussian Processes for Dialog Act
    Classification (P455). Raises: StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._model: Any = None

    def fit(self, features: Features, values: Vector) -> GaussianProcess:
        """Learn from rows of features and their values."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(2.0, (0.1, 50.0), nu=2.5) + WhiteKernel(1e-2, (1e-5, 1.0))
        model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a scale at its bound is no harm
            self._model = model.fit(features, values)
        return self

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the posterior mean and standard deviation of each row."""
        if self._model is None:
            raise StudyError("the Gaussian process was asked before it had data.")
        mean, deviation = self._model.predict(features, return_std=True)
        return mean, deviation
