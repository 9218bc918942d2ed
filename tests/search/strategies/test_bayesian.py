"""Bayesian optimisation: the improvement it maximises, conformance, and that each surrogate beats chance."""

from __future__ import annotations

import numpy as np
import pytest
from engines import NETWORK, areas
from hypothesis import given
from hypothesis import strategies as st

from whet.core.errors import UnknownNameError
from whet.core.front import hypervolume, non_dominated
from whet.search import strategies
from whet.search.predictors import SURROGATES
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
    assert check(lambda space, seed: Bayesian(space, seed, model="infinite-width", warm_up=6)) == list(SPACES)


@pytest.mark.parametrize("model", list(SURROGATES))
def test_each_surrogate_beats_random_search(model: str) -> None:
    found = areas(Bayesian(NETWORK, 0, model=model), 36)
    chance = areas(strategies.get("random", NETWORK, 0), 36)
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
