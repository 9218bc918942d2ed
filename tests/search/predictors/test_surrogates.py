"""What each surrogate computes, against closed forms and sampling."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import StudyError, UnknownNameError
from whet.search.predictors import SURROGATES, surrogate
from whet.search.predictors.bayesian_network import sample


def curve(x: np.ndarray) -> np.ndarray:
    return 3.0 + np.sin(3 * x[:, 0]) + x[:, 1] ** 2


@pytest.mark.parametrize("name", list(SURROGATES))
def test_knows_what_it_saw_and_that_it_does_not_know_the_rest(name: str) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((40, 3)) * [0.5, 1.0, 1.0]
    model = surrogate(name).fit(x, curve(x))
    mean, deviation = model.predict(x)
    assert np.abs(mean - curve(x)).mean() < 0.25 * curve(x).std()
    far = generator.random((40, 3)) * [0.2, 1.0, 1.0] + [2.0, 0.0, 0.0]
    assert model.predict(far)[1].mean() > 1.5 * deviation.mean()


@pytest.mark.parametrize("name", list(SURROGATES))
def test_asked_before_it_has_data(name: str) -> None:
    with pytest.raises(StudyError, match="before it had data"):
        surrogate(name).predict(np.zeros((1, 2)))


@pytest.mark.parametrize("name", list(SURROGATES))
def test_equal_values_and_a_single_row_are_survived(name: str) -> None:
    mean, deviation = surrogate(name).fit(np.ones((3, 2)), np.full(3, 5.0)).predict(np.zeros((2, 2)))
    assert np.isfinite(mean).all() and np.isfinite(deviation).all()


def test_misspelt() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'infinite-width'"):
        surrogate("infinite-with")


def test_hamiltonian_monte_carlo_samples_the_posterior_of_a_linear_model() -> None:
    """Where the posterior is a known normal distribution, the draws have its mean and covariance."""
    covariance = np.array([[1.0, 0.6], [0.6, 0.8]])
    mean, precision = np.array([0.5, -1.0]), np.linalg.inv(covariance)
    draws = sample(
        lambda q: (-0.5 * float((q - mean) @ precision @ (q - mean)), -precision @ (q - mean)),
        np.zeros(2), np.random.default_rng(0), count=4000, burn=300, leaps=10, step=0.1,
    )  # fmt: skip
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.12)
