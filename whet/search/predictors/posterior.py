"""Gaussian-process regression with a kernel that is given: what its surrogates share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from whet.decisions.genes import Vector

Matrix = NDArray[np.float64]
NOISES = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Posterior:
    """The posterior of standardised values; `weights` are `(K + noise I)^-1 y`, with the noise of largest evidence.

    mean(x) = k(x, X) weights,  variance(x) = k(x, x) - k(x, X) (K + noise I)^-1 k(X, x)
    evidence = -1/2 y' (K + noise I)^-1 y - 1/2 log det (K + noise I)      less a constant
    """

    factor: tuple[Matrix, bool]
    weights: Vector
    mean: float
    scale: float
    evidence: float = math.nan

    @classmethod
    def of(cls, prior: Matrix, values: Vector) -> Posterior:
        """Return the posterior for the kernel `prior` between the rows whose `values` are known."""
        mean, scale = float(values.mean()), float(values.std()) or 1.0
        targets = (values - mean) / scale

        def solved(noise: float) -> tuple[tuple[Matrix, bool], Vector, float]:
            factor = cho_factor(prior + noise * np.eye(len(targets)), lower=True)
            weights = cho_solve(factor, targets)
            evidence = -0.5 * float(targets @ weights) - float(np.log(np.diag(factor[0])).sum())
            return factor, weights, evidence

        factor, weights, evidence = max(map(solved, NOISES), key=lambda found: found[2])
        return cls(factor, weights, mean, scale, evidence)

    def predict(self, cross: Matrix, own: Vector | float) -> tuple[Vector, Vector]:
        """Return mean and standard deviation of rows, from their kernel with the known rows and with themselves."""
        variance = own - np.einsum("ij,ji->i", cross, cho_solve(self.factor, cross.T))
        mean: Vector = cross @ self.weights * self.scale + self.mean
        deviation: Vector = np.sqrt(np.maximum(variance, 1e-12)) * self.scale
        return mean, deviation
