"""The Gaussian process is one of a Matern kernel of five halves with a scale for each feature, and sees noise."""

from __future__ import annotations

import numpy as np
import pytest

from whet.search.predictors.gaussian_process import GaussianProcess


def noisy(count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The first of three features alone matters."""
    generator = np.random.default_rng(0)
    x = generator.random((count, 3))
    return x, 100 + 10 * np.sin(5 * x[:, 0]) + noise * generator.standard_normal(count)


def test_forecasts_are_those_of_the_kernel_with_the_scales_that_were_found() -> None:
    """k(r) = s (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r), r^2 = sum_i (d_i / l_i)^2; the noise is a measurement's."""
    x, values = noisy(30, 1.0)
    new = np.random.default_rng(1).random((5, 3))
    model = GaussianProcess().fit(x, values)
    found = model._model.kernel_.get_params()
    size, scales = found["k1__k1__constant_value"], found["k1__k2__length_scale"]
    noise = found["k2__noise_level"]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.sqrt((((a[:, None] - b[None]) / scales) ** 2).sum(-1))
        return size * (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)

    inverse = np.linalg.inv(kernel(x, x) + noise * np.eye(30))
    cross, targets = kernel(new, x), (values - values.mean()) / values.std()
    mean, deviation = model.predict(new)
    np.testing.assert_allclose(mean, cross @ inverse @ targets * values.std() + values.mean(), rtol=1e-6)
    variance = size + noise - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(deviation, np.sqrt(variance) * values.std(), rtol=1e-5)


def test_features_that_do_not_matter_get_long_scales_and_noise_is_not_followed() -> None:
    x, values = noisy(60, 3.0)
    model = GaussianProcess().fit(x, values)
    scales = model._model.kernel_.get_params()["k1__k2__length_scale"]
    assert scales[0] * 5 < min(scales[1:])
    mean, deviation = model.predict(x)
    truth = 100 + 10 * np.sin(5 * x[:, 0])
    assert np.abs(mean - truth).mean() < 0.5 * np.abs(values - truth).mean()
    assert deviation.mean() == pytest.approx(3.0, rel=0.25)
