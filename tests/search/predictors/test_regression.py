from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import StudyError, UnknownNameError
from whet.search.predictors.regression import KINDS, Regression


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).random((count, 4))
    return x, 100 + 10 * x[:, 0] - 5 * x[:, 1] + 4 * x[:, 2] * x[:, 3]


@pytest.mark.parametrize("kind", list(KINDS))
def test_learns_from_tens_of_samples_whatever_the_scale(kind: str) -> None:
    x, y = samples(80, 0)
    new, truth = samples(200, 1)
    error = np.abs(Regression(kind).fit(x, y).predict(new) - truth)
    assert np.median(error) < 0.25 * truth.std()


def test_products_of_features_are_learnt_by_ridge_pairs_only() -> None:
    x, y = samples(80, 0)
    new, truth = samples(200, 1)
    errors = {k: np.abs(Regression(k).fit(x, y).predict(new) - truth).mean() for k in ("ridge", "ridge-pairs")}
    assert errors["ridge-pairs"] < 0.1 * errors["ridge"]


def test_what_bends_is_learnt_by_kernels_and_trees_alone() -> None:
    """A bowl has no linear part; a saddle is no sum of steps in single features, which is what stumps are."""
    x, new = (np.random.default_rng(seed).uniform(-1, 1, (150, 2)) for seed in (0, 1))
    for truth, good in ((lambda r: (r**2).sum(1), {"svr", "boosting"}), (lambda r: r[:, 0] * r[:, 1], {"boosting"})):
        for kind in ("ridge", *good):
            error = np.abs(Regression(kind).fit(x, truth(x)).predict(new) - truth(new)).mean()
            assert (error < 0.35 * truth(new).std()) == (kind != "ridge"), (kind, error / truth(new).std())


def test_equal_values_are_forecast_as_they_are() -> None:
    assert Regression("svr").fit(np.ones((3, 2)), np.full(3, 7.0)).predict(np.zeros((2, 2))).tolist() == [7.0, 7.0]
    assert Regression("ridge").fit(np.ones((1, 0)), np.zeros(1)).predict(np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_asked_before_it_has_data() -> None:
    with pytest.raises(StudyError, match="before it had data"):
        Regression("ridge").predict(np.zeros((1, 1)))
    with pytest.raises(StudyError, match="no measurement"):
        Regression("ridge").fit(np.zeros((0, 1)), np.zeros(0))
    with pytest.raises(UnknownNameError, match="did you mean 'boosting'"):
        Regression("bosting")
