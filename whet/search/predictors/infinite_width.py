"""The Gaussian process that a Bayesian network of infinite width is."""

from __future__ import annotations

import numpy as np

from whet.core.errors import StudyError
from whet.decisions.genes import Features, Vector
from whet.search.predictors.posterior import Matrix, Posterior

DEPTH = 3
WEIGHT_VARIANCE = 2.0
BIAS_VARIANCE = 0.1


def kernel(
    a: Features, b: Features, depth: int = DEPTH, weight: float = WEIGHT_VARIANCE, bias: float = BIAS_VARIANCE
) -> Matrix:
    """Return the covariance of the outputs of infinitely wide ReLU networks with `depth` hidden layers.

    With K_0(x, y) = bias + weight x.y / d and the angle t = arccos(K_l(x, y) / sqrt(K_l(x, x) K_l(y, y))),

        K_l+1(x, y) = bias + weight / (2 pi) sqrt(K_l(x, x) K_l(y, y)) (sin t + (pi - t) cos t).

    Papers: Cho and Saul 2009, Kernel Methods for Deep Learning; Lee et al. 2018, Deep Neural Networks as Gaussian
    Processes.
    """
    width = max(a.shape[1], 1)
    cross = bias + weight * a @ b.T / width
    own_a = bias + weight * (a * a).sum(1) / width
    own_b = bias + weight * (b * b).sum(1) / width
    for _ in range(depth):
        size = np.sqrt(own_a[:, None] * own_b[None])
        angle = np.arccos(np.clip(cross / size, -1.0, 1.0))
        cross = bias + weight / (2 * np.pi) * size * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
        own_a, own_b = bias + weight / 2 * own_a, bias + weight / 2 * own_b
    result: Matrix = cross
    return result


def variances(x: Features, depth: int = DEPTH, weight: float = WEIGHT_VARIANCE, bias: float = BIAS_VARIANCE) -> Vector:
    """Return the kernel of each row with itself, where the angle is zero: K_l+1(x, x) = bias + weight / 2 K_l(x, x)."""
    own: Vector = bias + weight * (x * x).sum(1) / max(x.shape[1], 1)
    for _ in range(depth):
        own = bias + weight / 2 * own
    return own


class InfiniteWidth:
    """Exact Bayesian regression with an infinitely wide ReLU network; the noise is that of the largest evidence.

    Paper: Li et al. 2023, A Study of Bayesian Neural Network Surrogates for Bayesian Optimization, which finds
    it promising where there are many choices. Raises: StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._features: Features | None = None

    def fit(self, features: Features, values: Vector) -> InfiniteWidth:
        """Learn from rows of features and their values. Shapes (n, features) and (n,)."""
        self._features = self._centred(features)
        prior = kernel(self._features, self._features)
        self._unit = float(np.mean(np.diag(prior)))
        self._posterior = Posterior.of(prior / self._unit, values)
        return self

    @staticmethod
    def _centred(features: Features) -> Features:
        return 2.0 * features - 1.0

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the posterior mean and standard deviation of each row. Shape (n, features) to two of (n,)."""
        if self._features is None:
            raise StudyError("the infinite-width network was asked before it had data.")
        x = self._centred(features)
        cross = kernel(x, self._features) / self._unit
        return self._posterior.predict(cross, variances(x) / self._unit)
