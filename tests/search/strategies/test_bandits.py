"""Bandits: the estimate of a loss, regret on a separable problem against its bound, and what is credited to whom."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engines import beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.bandits import Agents, Bandits
from whet.testing.strategies import SPACES, check


def test_an_arms_loss_is_weighted_by_how_rarely_it_is_pulled() -> None:
    agents = Agents(np.array([2, 4]))
    assert agents.chances().tolist() == [[0.5, 0.5, 0, 0], [0.25] * 4]
    agents.credit(np.array([1, 2]), 0.4)
    rates = [math.sqrt(math.log(k) / k) for k in (2, 4)]
    assert agents.losses[0, 1] == pytest.approx(0.6 / (1 / 2 + rates[0] / 2))
    assert agents.losses[1, 2] == pytest.approx(0.6 / (1 / 4 + rates[1] / 2))
    second = math.exp(-math.sqrt(math.log(2) / (2 * 2)) * agents.losses[0, 1])
    assert agents.chances()[0, 1] == pytest.approx(second / (1 + second))


def played(rounds: int, seed: int) -> np.ndarray:
    """Return the regret of each round where every agent's arms earn shares of the reward of their own."""
    means = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.5], [0.5, 0.3, 0.7]])
    agents, generator = Agents(np.array([3, 3, 3])), np.random.default_rng(seed)
    regrets = np.zeros(rounds)
    for index in range(rounds):
        row = agents.pull(generator)
        expected = means[np.arange(3), row].mean()
        agents.credit(row, float(generator.random() < expected))
        regrets[index] = means.max(1).mean() - expected
    return regrets


def test_a_rounds_regret_falls_as_the_bound_says() -> None:
    """On a separable problem all agents' regrets add up; the bound of each is 4 sqrt(K T log K) and a small rest."""
    rounds, arms, doubt = 6000, 3, 0.01
    found = np.mean([played(rounds, seed) for seed in range(3)], axis=0)
    bound = 4 * math.sqrt(arms * rounds * math.log(arms))
    bound += (2 * math.sqrt(arms * rounds / math.log(arms)) + 1) * math.log(2 / doubt)
    assert found.sum() < 3 * bound
    first, last = found[:300].mean(), found[-300:].mean()
    assert last < first / 3
    # sqrt(T): four times the rounds, twice the regret; twice and a half allows for chance, four would be linear
    assert found.sum() < 2.5 * found[: rounds // 4].sum()


def test_agents_of_inactive_choices_learn_nothing() -> None:
    space = SPACES["conditional"]
    strategy = Bandits(space, 0, ("maximize",))
    names = list(space.choices)
    agents = Agents(strategy.genes.lengths)
    strategy._credit(agents, Decision({"layer:method": "prune", "layer:density": 0.5}), 0.0)
    took_part = {name for name, plays in zip(names, agents.plays, strict=True) if plays}
    assert took_part == {"runtime:name", "runtime:precision", "layer:method", "layer:density"}
    assert (agents.losses[agents.plays == 0] == 0).all()


def test_a_pull_that_was_measured_before_costs_nothing_and_is_learnt_from() -> None:
    strategy = Bandits(Space([Choice("a:bits", (4, 8), 8), Choice("b:bits", (4, 8), 8)]), 0, ("minimize",))
    agents = Agents(strategy.genes.lengths)
    known = {Decision(): 1.0, Decision({"a:bits": 4}): 0.0, Decision({"b:bits": 4}): None}
    pulls = list(strategy._pulls(agents, np.random.default_rng(0), known))
    assert agents.plays[0] == sum(known.get(d) is not None for d in pulls) > 5
    assert agents.chances()[0, 1] > 0.6  # a:bits at 8 earned the more


def test_learns_the_better_arm_of_each_choice() -> None:
    space = Space([Choice(f"a{i}:keep", (True, False), True) for i in range(10)])
    late = []
    for seed in range(3):
        strategy = Bandits(space, seed, ("maximize",))
        for index in range(140):
            (decision,) = strategy.ask()
            late += [len(decision)] if index >= 100 else []
            strategy.tell([Observation(decision, (float(len(decision)),))])
    assert np.mean(late) > 5.6  # chance is 5


def test_conforms() -> None:
    assert check(lambda space, seed: strategies.get("bandits", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("bandits")
