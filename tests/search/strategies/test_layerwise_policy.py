"""A policy over choices: its probabilities add up to one under any budget, and it learns what is best under each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import beat_random_search

from whet.core.space import Choice, Space
from whet.decisions.enumerate import point, size
from whet.search.policy_gradient import Draws
from whet.search.strategies.layerwise_policy import LEVELS, LayerwisePolicy, WalkingPolicy
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


@pytest.mark.parametrize("space, budget", [("conditional", 0.0), ("layers", 0.0), ("layers", 0.625)])
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
        of_budget = float(own.budgets.softmax(0)[round(budget * LEVELS)])
    assert float(chances.sum()) == pytest.approx(of_budget, abs=1e-4)
    assert ((chances > 0).numpy() == legal).all() and (all(legal) or budget > 0)


def test_draws_are_as_likely_as_it_is_said() -> None:
    strategy = LayerwisePolicy(Space(list(LAYERS)[:2]), 0)
    own = policy(strategy)
    with torch.no_grad():
        drawn = own.draw(4000, torch.Generator().manual_seed(0))
        for row in strategy.genes.rows([point(strategy.space, rank) for rank in range(9)]):
            every = Draws(np.tile(row, (LEVELS, 1)), np.arange(LEVELS) / LEVELS)
            told = float(own.log_chance(every).exp().sum())
            assert (drawn.rows == row).all(1).mean() == pytest.approx(told, abs=4 * (0.25 / 4000) ** 0.5)
        shares = np.bincount(np.rint(drawn.goals * LEVELS).astype(int), minlength=LEVELS) / 4000
        assert shares == pytest.approx(own.budgets.softmax(0).numpy(), abs=4 * (0.25 / 4000) ** 0.5)
    assert np.ptp(shares) > 0.1 and (strategy.walk.spent(drawn.rows) >= drawn.goals - 1e-9).all()


def test_it_learns_what_is_best_under_its_budget() -> None:
    """The first layer is not to be cut: it is left alone, and budgets that need it are drawn no more."""
    strategy = LayerwisePolicy(LAYERS, 0, learning_rate=0.05)
    learner = strategy.begin()
    known = {point(LAYERS, rank): 0.0 for rank in range(size(LAYERS))}
    for decision in known:
        known[decision] = 1.0 if "layer0:width" not in decision else 0.0
    for index in range(60):
        draws = strategy.draws_of(learner, index)
        strategy.learn(learner, draws, next(iter(known)), known)
    found = strategy.draws_of(learner, 99)
    assert (found.rows[:, 0] == 2).mean() > 0.9, "and budgets that it cannot meet so are not drawn any more"
    seen = torch.from_numpy(strategy.walk.seen(np.array([[2, 2, 2]]), 0, np.array([0.25])))
    with torch.no_grad():
        assert float(learner.policy(seen).softmax(1)[0, 2]) > 0.9
        assert float(learner.policy.budgets.softmax(0)[-1]) < 0.05


def test_what_others_proposed_counts_as_drawn_under_what_it_saved() -> None:
    strategy = LayerwisePolicy(LAYERS, 0)
    rows = np.array([[0, 2, 1], [0, 0, 0], [2, 2, 2]])
    assert strategy.walk.spent(rows).tolist() == pytest.approx([1.25 / 2.25, 1, 0])
    assert strategy.goals(rows).tolist() == [4 / LEVELS, 7 / LEVELS, 0]


def test_conforms() -> None:
    assert len(check(lambda space, seed: LayerwisePolicy(space, seed), spaces=("four points", "conditional"))) == 2


def test_beats_random_search() -> None:
    assert beat_random_search("layerwise-policy", rounds=40, seeds=2)
