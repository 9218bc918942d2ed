"""A policy over choices: its probabilities add up to one under any budget, and it learns what is best under each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import beat_random_search

from whet.core.space import Choice, Space
from whet.decisions.enumerate import point, size
from whet.search.policy_gradient import Draws
from whet.search.strategies.layerwise_policy import LayerwisePolicy, WalkingPolicy
from whet.search.walk import LEGAL
from whet.testing.strategies import SPACES, check

LAYERS = Space([Choice(f"layer{i}:width", (0.25, 0.5, 1.0), 1.0) for i in range(3)])


def policy(strategy: LayerwisePolicy) -> WalkingPolicy:
    found = strategy.begin().policy
    assert isinstance(found, WalkingPolicy)
    torch.manual_seed(1)
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter)
    return found


@pytest.mark.parametrize("space, budget", [("conditional", 0.0), ("layers", 0.0), ("layers", 0.6)])
def test_probabilities_add_up_to_one_over_what_is_legal(space: str, budget: float) -> None:
    strategy = LayerwisePolicy(LAYERS if space == "layers" else SPACES[space], 0)
    own = policy(strategy)
    rows = strategy.genes.rows([point(strategy.space, rank) for rank in range(size(strategy.space))])
    legal = [
        all(strategy.walk.steps(row, budget)[0][i, v, LEGAL] for i, v in enumerate(strategy.walk.steps(row, budget)[1]))
        for row in rows
    ]
    with torch.no_grad():
        chances = own.log_chance(Draws(rows, np.full(len(rows), budget))).exp()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-4)
    assert ((chances > 0).numpy() == legal).all() and (all(legal) or budget > 0)


def test_draws_are_as_likely_as_it_is_said() -> None:
    strategy = LayerwisePolicy(Space(list(LAYERS)[:2]), 0)
    own = policy(strategy)
    with torch.no_grad():
        drawn = own.draw(4000, torch.Generator().manual_seed(0))
        for row in strategy.genes.rows([point(strategy.space, rank) for rank in range(9)]):
            told = own.log_chance(Draws(np.tile(row, (4000, 1)), drawn.goals)).exp().mean()
            assert (drawn.rows == row).all(1).mean() == pytest.approx(float(told), abs=4 * (0.25 / 4000) ** 0.5)
    assert abs(drawn.goals.mean() - 0.5) < 0.02 and (strategy.walk.spent(drawn.rows) >= drawn.goals - 1e-9).all()


def test_it_learns_what_is_best_under_its_budget() -> None:
    """The first layer is not to be cut: where the others can meet the budget it is left alone, else it is cut."""
    strategy = LayerwisePolicy(LAYERS, 0, learning_rate=0.02)
    learner = strategy.begin()
    known = {point(LAYERS, rank): 0.0 for rank in range(size(LAYERS))}
    for decision in known:
        known[decision] = 1.0 if "layer0:width" not in decision else 0.0
    for index in range(60):
        draws = strategy.draws_of(learner, index)
        strategy.learn(learner, draws, next(iter(known)), known)
    found = strategy.draws_of(learner, 99)
    own = strategy.walk
    within = found.goals < own.rest[1] - 0.05
    assert within.sum() > 4 and (found.rows[within, 0] == 2).mean() > 0.9
    assert (found.rows[found.goals > own.rest[1] + 1e-6, 0] < 2).all()


def test_what_others_proposed_counts_as_drawn_under_what_it_saved() -> None:
    strategy = LayerwisePolicy(LAYERS, 0)
    row = np.array([[0, 2, 1]])
    assert strategy.goals(row).tolist() == pytest.approx([(0.75 + 0.5) / 2.25])


def test_conforms() -> None:
    assert len(check(lambda space, seed: LayerwisePolicy(space, seed), spaces=("four points", "conditional"))) == 2


def test_beats_random_search() -> None:
    assert beat_random_search("layerwise-policy", rounds=40, seeds=2)
