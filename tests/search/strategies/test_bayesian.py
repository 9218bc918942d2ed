"""Bayesian optimisation: the improvement it maximises, conformance, and that each surrogate beats chance."""

from __future__ import annotations

import numpy as np
import pytest
from engines import NETWORK, areas
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from whet.core.errors import UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.pareto import hypervolume, non_dominated
from whet.search import strategies
from whet.search.predictors import SURROGATES
from whet.search.strategies import bayesian
from whet.search.strategies.bayesian import Bayesian, improvement
from whet.testing.strategies import SPACES, check

COORDINATE = st.integers(0, 10).map(lambda i: i / 8)
POINT = st.tuples(COORDINATE, COORDINATE)


@given(st.lists(POINT, max_size=8), POINT)
def test_improvement_is_the_difference_of_hypervolumes(
    measured: list[tuple[float, float]], new: tuple[float, float]
) -> None:
    front = np.array([measured[i] for i in non_dominated(measured)]).reshape(-1, 2)
    gained = improvement(np.array([new]), front, (1.1, 1.1))[0]
    expected = hypervolume([*measured, new], (1.1, 1.1)) - hypervolume(measured, (1.1, 1.1))
    assert gained == pytest.approx(expected, abs=1e-12)


def test_conforms() -> None:
    assert check(lambda space, seed: Bayesian(space, seed, model="infinite-width", warm_up=9)) == list(SPACES)


@pytest.mark.parametrize("model", list(SURROGATES))
def test_each_surrogate_beats_random_search(model: str) -> None:
    found = areas(Bayesian(NETWORK, 0, model=model), 16)
    chance = areas(strategies.get("random", NETWORK, 0), 16)
    assert found[-1] > chance[-1]


def test_one_and_three_objectives() -> None:
    for directions in (("minimize",), ("maximize", "minimize", "minimize")):
        assert "ordered" in check(
            lambda space, seed, d=directions: Bayesian(space, seed, d, model="infinite-width", warm_up=5),  # type: ignore[misc]
            objectives=len(directions),
        )


def test_misspelt_surrogate() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ensemble'"):
        Bayesian(NETWORK, model="ensembel")


def worth(mean: list[list[float]], deviation: list[list[float]], allowed: list[list[float]]) -> np.ndarray:
    """Return the worth of candidates where objectives were measured from 0 to 1, so that they stand in those units."""
    values, generator = np.array([[0.0] * len(mean[0]), [1.0] * len(mean[0])]), np.random.default_rng(0)
    best = np.array(allowed).reshape(len(allowed), len(mean[0]))
    return Bayesian._worth(np.array(mean), np.array(deviation), best, values, generator)


def test_the_expectation_is_over_the_surrogates_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one objective the expected improvement has a closed form: d (z Phi(z) + phi(z)), z = (best - mean) / d."""
    monkeypatch.setattr(bayesian, "DRAWS", 40_000)
    for mean, deviation in ((0.5, 0.1), (0.3, 0.2), (0.2, 0.4), (0.1, 0.0)):
        z = (0.3 - mean) / max(deviation, 1e-12)
        wanted = deviation * (z * norm.cdf(z) + norm.pdf(z)) if deviation else 0.3 - mean
        assert worth([[mean]], [[deviation]], [[0.3]])[0] == pytest.approx(wanted, rel=0.03, abs=1e-4)


def test_what_is_uncertain_is_worth_more_where_the_mean_is_dominated() -> None:
    known, unsure, surer = worth([[0.6, 0.6]] * 3, [[0.0] * 2, [0.5] * 2, [0.1] * 2], [[0.4, 0.4]])
    assert known == 0 < surer < unsure


class Knows:
    """A surrogate that knows all about a width w from 0 to 1: it is worth w, and breaks the limit from 9/16 on."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Knows:
        self.of_limit = bool((y == 0).any())
        return self

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width = (1 + 15 * x[:, 0]) / 16
        return 8 * (width - 9.5 / 16) if self.of_limit else 2 - width, np.full(len(x), 1e-3)


def test_the_limit_multiplies_by_the_probability_that_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wider layer is the better one up to the limit: proposed is the widest that keeps it."""
    monkeypatch.setattr(bayesian, "surrogate", lambda *given: Knows())
    strategy = Bayesian(
        Space([Choice("a:width", tuple(i / 16 for i in range(1, 17)), 1.0)]), 0, ("maximize",), warm_up=1
    )
    for i in (2, 4, 11, 14):
        strategy.tell([Observation(Decision({"a:width": i / 16}), (i / 16 - 2,), 8 * (i - 9.5) / 16)])
    assert strategy.ask() == [Decision({"a:width": 9 / 16})]
