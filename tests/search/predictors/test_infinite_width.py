"""The kernel of infinitely wide networks, against random wide ones and closed forms."""

import numpy as np

from whet.search.predictors.infinite_width import InfiniteWidth, kernel, variances


def test_the_kernel_is_the_covariance_of_wide_random_networks() -> None:
    """Cho and Saul 2009: a random ReLU network's outputs covary as the arc-cosine kernel says, as its width grows."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((3, 4))
    outputs = []
    for _ in range(3000):
        hidden = x
        for _ in range(2):
            weights = generator.standard_normal((hidden.shape[1], 200)) * np.sqrt(2.0 / hidden.shape[1])
            hidden = np.maximum(hidden @ weights + generator.standard_normal(200) * np.sqrt(0.1), 0.0)
        last = generator.standard_normal(200) * np.sqrt(2.0 / 200)
        outputs.append(hidden @ last + generator.standard_normal() * np.sqrt(0.1))
    found = np.cov(np.array(outputs).T, bias=True)
    np.testing.assert_allclose(found, kernel(x, x, depth=2), rtol=0.12, atol=0.08)


def test_the_variance_of_a_row_is_the_kernel_with_itself() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (5, 7))
    np.testing.assert_allclose(variances(x), np.diag(kernel(x, x)), rtol=1e-6)


def test_the_posterior_goes_through_what_it_saw_and_back_to_its_prior_far_away() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (12, 3))
    y = 2.0 * x[:, 0] - x[:, 1]
    model = InfiniteWidth().fit(x, y)
    mean, deviation = model.predict(x)
    assert np.abs(mean - y).mean() < 0.1 * y.std()
    _, further = model.predict(10.0 * x)
    assert (further > deviation).all()


def test_the_kernel_is_symmetric_and_positive() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (8, 4))
    matrix = kernel(x, x)
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
