"""A deep Q-network over choices: exact values of a small problem, its exploration, and that it beats chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import LIMIT, NETWORK, cost

from whet.core.checks import ValueRangeError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.policies.replay import Transitions
from whet.search import strategies
from whet.search.strategies.layerwise_q import LayerwiseQ, QLearner
from whet.testing.strategies import SPACES, check

TWO = Space([Choice("a:bits", (4, 8), 8), Choice("b:bits", (4, 8), 8)])
REWARDS = {(4, 4): 0.2, (4, 8): 0.6, (8, 4): 0.9, (8, 8): 0.1}


def decision(a: int, b: int) -> Decision:
    return TWO.canonical(Decision({"a:bits": a, "b:bits": b}))


def values(strategy: LayerwiseQ, learner: QLearner, row: list[int], choice: int) -> list[float]:
    seen = torch.from_numpy(strategy.walk.seen(np.array([row]), choice, np.zeros(1)))
    with torch.no_grad():
        return [round(value, 2) for value in learner.network(seen)[0, :, 0].tolist()]


def test_a_value_of_a_choice_is_that_of_the_best_decision_behind_it() -> None:
    """The best behind a = 4 earns .6, behind a = 8 .9; of the last choice the values are the rewards."""
    strategy = LayerwiseQ(TWO, 0, learning_rate=0.01)
    learner = strategy.begin()
    each = [strategy.transitions(decision(*point), reward, budget=0.0) for point, reward in REWARDS.items()]
    names = ("observations", "actions", "rewards", "following", "discounts")
    together = Transitions(*(np.concatenate([getattr(one, name) for one in each]) for name in names))
    for _ in range(700):
        strategy.update(learner, together)
    assert values(strategy, learner, [1, 1], 0) == pytest.approx([0.6, 0.9], abs=0.03)
    assert values(strategy, learner, [0, 1], 1) == pytest.approx([0.2, 0.6], abs=0.03)
    assert values(strategy, learner, [1, 1], 1) == pytest.approx([0.9, 0.1], abs=0.03)


def test_only_legal_values_are_chosen_and_valued() -> None:
    """Under the budget of all that can be saved nothing else is taken, whatever the network thinks of it."""
    strategy = LayerwiseQ(TWO, 0)
    seen = torch.from_numpy(strategy.walk.seen(np.array([[1, 1]]), 0, np.ones(1)))
    told = strategy.told(strategy.begin().network, seen)[0, :, 0]
    assert told[0] > -1e6 > told[1]


def test_nothing_is_earned_before_the_last_step() -> None:
    found = LayerwiseQ(TWO, 0).transitions(decision(4, 8), 0.6)
    assert found.rewards.tolist() == [0.0, 0.6] and found.discounts.tolist() == [1.0, 0.0]
    assert found.actions.tolist() == [0, 1] and (found.following[0] == found.observations[1]).all()


def test_exploration_falls() -> None:
    """Sixteen walks of an untrained network: by chance at first, nearly all alike for their budgets afterwards."""
    strategy = LayerwiseQ(SPACES["ordered"], 0, explore_for=10)
    learner = strategy.begin()
    seen = [len(np.unique(strategy.drawn(learner, index), axis=0)) for index in (0, 10)]
    assert seen[0] > seen[1]


def test_the_buffer_holds_what_was_measured_as_it_is_known_now() -> None:
    strategy = LayerwiseQ(TWO, 0)
    told = [Observation(decision(*point), (1.0 + reward, 0.0)) for point, reward in REWARDS.items()]
    strategy.tell([*told[:3], Observation(told[3].decision)])
    strategy.taught()
    held = strategy._held
    assert [d for d, _ in held] == [o.decision for o in told[:3]] and len(strategy._replay) == 6
    assert [reward for _, reward in held] == [0.5, 1.0, 1.0]
    strategy.tell([Observation(told[1].decision, (1.0, 0.0)), told[3]])
    strategy.taught()
    assert [reward for _, reward in strategy._held] == pytest.approx([0.5, 0.0, 1.0, 1 / 3]) and len(
        strategy._replay
    ) == 8


def test_conforms() -> None:
    assert (
        len(check(lambda space, seed: LayerwiseQ(space, seed, updates=1), spaces=("four points", "conditional"))) == 2
    )


def test_what_it_proposes_stands_better_than_what_is_drawn() -> None:
    def earned(name: str, seed: int) -> float:
        strategy, judge = strategies.get(name, NETWORK, seed), LayerwiseQ(NETWORK)
        for _ in range(60):
            (asked,) = strategy.ask()
            seen = Observation(asked, cost(asked), cost(asked)[1] - LIMIT)
            strategy.tell([seen])
            judge.tell([seen])
        return float(np.mean([o.feasible for o in judge.ledger.measured()[-20:]]))

    found, chance = (np.mean([earned(name, seed) for seed in range(2)]) for name in ("layerwise-q", "random"))
    assert found > chance + 0.2


def test_options_that_cannot_be_meant() -> None:
    with pytest.raises(ValueRangeError, match="updates must be a whole number of at least 1; got 0"):
        LayerwiseQ(TWO, updates=0)
