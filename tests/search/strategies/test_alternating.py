"""Evolution on predictors: conformance, and the measurements that it saves over NSGA-II."""

from __future__ import annotations

from statistics import median

import pytest
from engines import NETWORK, areas, cost

from whet.core.errors import DecisionError, UnknownNameError
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.alternating import Alternating
from whet.testing.strategies import SPACES, check


def test_conforms() -> None:
    assert check(lambda space, seed: Alternating(space, seed, warm_up=6)) == list(SPACES)


@pytest.mark.parametrize("kind", ["ridge", "svr", "boosting"])
def test_any_light_predictor_serves(kind: str) -> None:
    found = areas(Alternating(NETWORK, 0, predictors=(kind,)), 40)
    chance = areas(strategies.get("random", NETWORK, 0), 40)
    assert found[-1] > chance[-1]


def test_it_needs_half_the_measurements_of_nsga2() -> None:
    needed = []
    for seed in range(3):
        goal = areas(strategies.get("nsga2", NETWORK, seed), 120)[-1]
        reached = areas(Alternating(NETWORK, seed), 60)
        needed.append(next((i for i, area in enumerate(reached, 1) if area >= goal), 1000))
    assert median(needed) <= 60, needed


def test_three_objectives_and_a_limit() -> None:
    strategy = Alternating(NETWORK, 0, ("maximize", "minimize", "minimize"))
    late = 0
    for index in range(60):
        (decision,) = strategy.ask()
        speedup, drop = cost(decision)
        strategy.tell([Observation(decision, (speedup, drop, len(decision)), drop - 0.05)])
        late += index >= 30 and drop <= 0.05
    assert late >= 20


def test_wrong_directions_and_predictors() -> None:
    with pytest.raises(DecisionError, match="maximize"):
        Alternating(NETWORK, 0, ("up",))
    with pytest.raises(UnknownNameError, match="did you mean 'ridge'"):
        areas(Alternating(NETWORK, 0, predictors=("rigde",)), 20)
