"""A forecast of quantized quality that begins as one of full-precision quality."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import StudyError
from whet.search.genes import Features, Vector

HIDDEN = (32, 32)


class Transfer:
    """A small network, trained on many cheap measurements in full precision, then on few of quantized networks.

    `cheap` marks the rows in full precision. The network first learns those alone, with the columns of the policy at
    their identity, then goes on from the same weights with the others, at a tenth of the learning rate: what it knows
    of structures carries over, and the few quantized rows teach what bits do.

    Paper: Wang et al. 2020, APQ: Joint Search for Network Architecture, Pruning and Quantization Policy (P205). Raises:
    StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._model: Any = None

    def fit(self, features: Features, values: Vector, cheap: NDArray[np.bool_] | None = None) -> Transfer:
        """Learn from rows of features and their values; without `cheap` all rows are learnt at once."""
        from sklearn.neural_network import MLPRegressor

        if not len(values):
            raise StudyError("the transferred predictor was given no measurement to learn from.")
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        targets = (values - self._mean) / self._scale
        model = MLPRegressor(
            hidden_layer_sizes=HIDDEN, solver="adam", learning_rate_init=1e-2, max_iter=400, alpha=1e-3,
            random_state=self.seed, warm_start=True, n_iter_no_change=1000,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped before it converged
            first = cheap if cheap is not None and cheap.any() else np.ones(len(values), dtype=bool)
            model.fit(features[first], targets[first])
            if not first.all():
                model.set_params(learning_rate_init=1e-3, max_iter=600)
                model.fit(features[~first], targets[~first])
        self._model = model
        return self

    def predict(self, features: Features) -> Vector:
        """Return one forecast a row."""
        if self._model is None:
            raise StudyError("the transferred predictor was asked before it had data.")
        forecast: Vector = self._model.predict(features) * self._scale + self._mean
        return forecast
