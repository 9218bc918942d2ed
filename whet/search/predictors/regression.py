"""Light regressions of one number from a decision: ridge, support vectors, gradient boosting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whet.core.errors import StudyError, unknown
from whet.decisions.genes import Features, Vector


def _ridge(seed: int) -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=np.logspace(-3, 2, 11))


def _pairs(seed: int) -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return make_pipeline(PolynomialFeatures(2, include_bias=False), RidgeCV(alphas=np.logspace(-2, 3, 11)))


def _support_vectors(seed: int) -> Any:
    from sklearn.svm import SVR

    return SVR(kernel="rbf", C=100.0, epsilon=0.01, gamma="scale")


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=100, max_depth=3, subsample=0.8, random_state=seed)


KINDS: dict[str, Callable[[int], Any]] = {
    "ridge": _ridge,
    "ridge-pairs": _pairs,
    "svr": _support_vectors,
    "boosting": _boosting,
}


class Regression:
    """One of scikit-learn's regressions of standardised values: `fit(features, values)`, then `predict(features)`.

    `ridge` is linear with its penalty chosen by generalised cross-validation, `ridge-pairs` adds products of two
    features, `svr` has a Gaussian kernel, `boosting` grows a hundred trees of depth three. These are the light
    predictors of Cummings et al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
    Modalities.

    Raises: UnknownNameError for a kind that is not in `KINDS`; StudyError when asked before it has data.

    >>> x = np.array([[0.0], [0.5], [1.0]])
    >>> model = Regression("ridge").fit(x, 2 * x[:, 0] + 1)
    >>> model.predict(np.array([[0.25]])).round(2).tolist()
    [1.5]
    """

    def __init__(self, kind: str = "ridge", seed: int = 0) -> None:
        if kind not in KINDS:
            raise unknown("predictor", kind, KINDS)
        self.kind, self.seed = kind, seed
        self._model: Any = None
        self._standard: tuple[float, float] | None = None

    def fit(self, features: Features, values: Vector) -> Regression:
        """Learn from rows of features and their values."""
        if len(values) == 0:
            raise StudyError(f"predictor '{self.kind}' was given no measurement to learn from.")
        mean, scale = float(np.mean(values)), float(np.std(values))
        self._standard, self._model = (mean, scale), None
        if scale > 0 and features.shape[1]:
            self._model = KINDS[self.kind](self.seed).fit(features, (values - mean) / scale)
        return self

    def predict(self, features: Features) -> Vector:
        """Return one forecast a row; the mean where all values were equal."""
        if self._standard is None:
            raise StudyError(f"predictor '{self.kind}' was asked before it had data.")
        mean, scale = self._standard
        if self._model is None:
            return np.full(len(features), mean)
        forecast: Vector = self._model.predict(features) * scale + mean
        return forecast
