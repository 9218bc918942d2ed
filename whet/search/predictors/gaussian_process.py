"""A Gaussian process with a Matern kernel."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from whet.core.errors import StudyError
from whet.decisions.genes import Features, Vector


class GaussianProcess:
    """Gaussian-process regression by scikit-learn: Matern 5/2 plus noise, a scale for each feature, by likelihood.

    Paper: Dernoncourt and Lee 2016, Optimizing Neural Network Hyperparameters with Gaussian Processes for Dialog Act
    Classification. Raises: StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._model: Any = None

    def fit(self, features: Features, values: Vector) -> GaussianProcess:
        """Learn from rows of features and their values. Shapes (n, features) and (n,)."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
        from threadpoolctl import threadpool_limits

        scales = Matern(np.full(features.shape[1], 2.0), (0.1, 50.0), nu=2.5)
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * scales + WhiteKernel(1e-2, (1e-5, 1.0))
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=self.seed)
        # Matrices of some hundred rows gain nothing by threads, and where others compute they wait for each other.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # a scale at its bound is no harm
            self._model = model.fit(features, values)
        return self

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the posterior mean and standard deviation of each row. Shape (n, features) to two of (n,)."""
        if self._model is None:
            raise StudyError("the Gaussian process was asked before it had data.")
        mean, deviation = self._model.predict(features, return_std=True)
        return mean, deviation
