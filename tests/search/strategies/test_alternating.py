"""Evolution on predictors: conformance, and the measurements that it saves over NSGA-II."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from engines import NETWORK, areas, cost, each_area

from whet.core.errors import DecisionError, UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.alternating import Alternating, apart
from whet.testing.strategies import SPACES, WIDTHS, check


def test_conforms() -> None:
    assert check(lambda space, seed: Alternating(space, seed, warm_up=9)) == list(SPACES)


@pytest.mark.parametrize("kind", ["ridge", "svr", "boosting"])
def test_any_light_predictor_serves(kind: str) -> None:
    found = areas(Alternating(NETWORK, 0, predictors=(kind,)), 40)
    chance = areas(strategies.get("random", NETWORK, 0), 40)
    assert found[-1] > chance[-1]


def test_it_needs_half_the_measurements_of_nsga2() -> None:
    needed = []
    for seed in range(3):
        goal = areas(strategies.get("nsga2", NETWORK, seed), 120)[-1]
        reached = each_area(Alternating(NETWORK, seed), 60)
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


def test_points_are_taken_farthest_first() -> None:
    points, known = np.array([[0.1, 0.0], [0.9, 0.2], [0.5, 0.5], [0.5, 0.45]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    assert apart(points, known, 2) == [2, 1]  # in units of the known spans, (0.5, 0.5) is farthest; its twin is near it
    assert apart(points, known, 9) == [2, 1, 0, 3] or sorted(apart(points, known, 9)) == [0, 1, 2, 3]


SPACE = Space([Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(6)])


def linear(decision: Decision) -> tuple[float, float]:
    """Two objectives that a ridge regression learns exactly; each layer trades them at a rate of its own."""
    cut = [1.0 - float(decision.of(c)) for c in SPACE]  # type: ignore[arg-type]
    return -sum(cut), sum((1 + i) * x for i, x in enumerate(cut))


def evolved(limit: float | None = None) -> tuple[Alternating, list[Decision]]:
    strategy = Alternating(SPACE, 0, ("minimize", "minimize"), predictors=("ridge",), warm_up=30)
    for decision in strategy.ask(30):
        values = linear(decision)
        strategy.tell([Observation(decision, values, 0.0 if limit is None else values[1] - limit)])
    return strategy, strategy.candidates()


def test_what_evolves_on_exact_predictors_is_their_front() -> None:
    """The front cuts the layers in the order of their rates: none is cut while a cheaper one can be cut further."""
    _, found = evolved()
    off_front = 0
    for decision in found[:8]:
        cut = [1.0 - float(decision.of(c)) for c in SPACE]  # type: ignore[arg-type]
        last = max((i for i, x in enumerate(cut) if x), default=0)
        off_front += sum(0.75 - x for x in cut[:last]) > 0.25
    assert off_front <= 1


def test_what_the_forecasts_put_behind_their_front_is_not_proposed() -> None:
    strategy = Alternating(SPACE, 0, ("minimize", "minimize"), predictors=("ridge",), warm_up=30, generations=0)
    strategy.tell([Observation(d, linear(d)) for d in strategy.ask(30)])
    found = [linear(d) for d in strategy.candidates()]
    for gain, harm in found[:4]:
        assert not any(g <= gain - 1e-6 and h <= harm - 1e-6 for g, h in found)


def test_broken_limits_are_forecast_and_avoided() -> None:
    _, free = evolved()
    _, bound = evolved(limit=3.0)
    assert max(linear(d)[1] for d in free[:8]) > 6.0
    assert np.mean([linear(d)[1] <= 3.0 for d in bound[:8]]) > 0.7


def test_between_two_fits_every_proposal_is_of_the_same_evolution() -> None:
    strategy, first = evolved()
    for index in range(strategy.every + 1):
        (decision,) = strategy.ask()
        strategy.tell([Observation(decision, linear(decision))])
        same = strategy.candidates() is first
        assert same == (index < strategy.every - 1)
