"""The Bayesian network's density is that of its model, with its gradient, and its draws are the forecast."""

from __future__ import annotations

import numpy as np
import pytest

from whet.search.predictors.bayesian_network import HIDDEN, NOISE, PRIOR, BayesianNetwork


@pytest.fixture(scope="module")
def fitted() -> BayesianNetwork:
    x = np.random.default_rng(0).random((12, 3))
    return BayesianNetwork(draws=20, burn=30).fit(x, 7 + 3 * x[:, 0] - x[:, 1])


def log_density(q: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Values are normal about the network, weights about zero; fan-in scales what each layer reads."""
    inner, bias, outer, offset = np.split(q, [3 * HIDDEN, 4 * HIDDEN, 5 * HIDDEN])
    output = np.tanh(x @ inner.reshape(3, HIDDEN) / np.sqrt(3) + bias) @ outer / np.sqrt(HIDDEN) + offset
    return float(-(((output - y) / NOISE) ** 2).sum() / 2 - ((q / PRIOR) ** 2).sum() / 2)


def test_the_density_is_likelihood_times_prior_and_the_gradient_its_slope(fitted: BayesianNetwork) -> None:
    generator = np.random.default_rng(1)
    x, y = generator.uniform(-1, 1, (8, 3)), generator.standard_normal(8)
    q = generator.standard_normal(5 * HIDDEN + 1)
    value, gradient = fitted._density(q, x, y)
    assert value == pytest.approx(log_density(q, x, y))
    for place in range(0, len(q), 7):
        step = np.zeros_like(q)
        step[place] = 1e-5
        slope = (log_density(q + step, x, y) - log_density(q - step, x, y)) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_the_forecast_is_mean_and_spread_of_the_draws(fitted: BayesianNetwork) -> None:
    new = np.random.default_rng(2).random((4, 3))
    assert fitted._samples is not None and len(np.unique(fitted._samples, axis=0)) > 5
    outputs = np.array([fitted._forward(q, 2 * new - 1)[0] for q in fitted._samples])
    mean, deviation = fitted.predict(new)
    np.testing.assert_allclose(mean, outputs.mean(0) * fitted._scale + fitted._mean)
    np.testing.assert_allclose(deviation, outputs.std(0) * fitted._scale)
