"""Gaussian-process regression with a given kernel, against its closed form."""

from __future__ import annotations

import numpy as np
import pytest

from whet.search.predictors.posterior import NOISES, Posterior


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((a[:, None] - b[None]) / 0.3) ** 2)


def evidence(values: np.ndarray, covariance: np.ndarray) -> float:
    """The log density of standardised values, less a constant."""
    targets = (values - values.mean()) / values.std()
    return -0.5 * float(targets @ np.linalg.solve(covariance, targets) + np.linalg.slogdet(covariance)[1])


@pytest.mark.parametrize(("noise", "expected"), [(0.0, NOISES[0]), (0.5, NOISES[-1])])
def test_mean_deviation_and_the_noise_of_largest_evidence(noise: float, expected: float) -> None:
    """Rasmussen and Williams 2006, algorithm 2.1; exact values leave the least noise, noisy ones the most."""
    x, new = np.linspace(0, 1, 25), np.array([0.11, 0.5, 1.4])
    values = 5 + 2 * np.sin(6 * x) + noise * np.random.default_rng(0).standard_normal(25)
    covariances = {n: kernel(x, x) + n * np.eye(25) for n in NOISES}
    assert max(NOISES, key=lambda n: evidence(values, covariances[n])) == expected
    posterior = Posterior.of(kernel(x, x), values)
    cross, inverse = kernel(new, x), np.linalg.inv(covariances[expected])
    mean, deviation = posterior.predict(cross, 1.0)
    targets = (values - values.mean()) / values.std()
    np.testing.assert_allclose(mean, cross @ inverse @ targets * values.std() + values.mean(), rtol=1e-6)
    variance = 1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(deviation, np.sqrt(variance) * values.std(), rtol=1e-5)
    assert posterior.evidence == pytest.approx(evidence(values, covariances[expected]))
    assert deviation[2] > 3 * deviation[1], "a row far from all others is less certain"
