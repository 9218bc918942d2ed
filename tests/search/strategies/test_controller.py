"""The recurrent controller: one probability for all decisions together, later values by earlier ones, the cube."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.search.policy_gradient import Draws
from whet.search.strategies.controller import RANGE, Controller, RecurrentPolicy
from whet.testing.strategies import SPACES, check

TWO = Space([Choice("a:bits", (4, 8), 8), Choice("b:bits", (2, 4, 8), 8)])


def policy(strategy: Controller) -> RecurrentPolicy:
    """A controller that is far from uniform."""
    found = strategy.begin().policy
    assert isinstance(found, RecurrentPolicy)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter *= 25
    return found


def everything(strategy: Controller) -> Draws:
    rows = strategy.genes.rows([point(strategy.space, rank) for rank in range(size(strategy.space))])
    return Draws(rows, np.zeros(len(rows)))


@pytest.mark.parametrize("space", [TWO, SPACES["conditional"]])
def test_probabilities_add_up_to_one_over_all_decisions(space: Space) -> None:
    strategy = Controller(space, 0, hidden=8)
    with torch.no_grad():
        chances = policy(strategy).log_chance(everything(strategy)).exp()
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-4) and float(chances.max() / chances.min()) > 1.5


def test_draws_are_as_likely_as_it_is_said() -> None:
    """What is drawn one value after another has the probabilities that are told of it at once."""
    strategy = Controller(SPACES["conditional"], 0, hidden=8)
    own, every = policy(strategy), everything(strategy)
    with torch.no_grad():
        drawn = own.draw(4000, torch.Generator().manual_seed(0))
        told = own.log_chance(every).exp().numpy()
    shares = np.array([(drawn.rows == row).all(1).mean() for row in every.rows])
    assert np.abs(shares - told).max() < 4 * np.sqrt(0.25 / 4000) and told.max() - told.min() > 0.05


def test_it_begins_nearly_uniform_as_in_the_paper() -> None:
    own = Controller(TWO, 0).begin().policy
    assert isinstance(own, RecurrentPolicy) and own.cells.num_layers == 2 and own.cells.hidden_size == 35
    assert max(float(parameter.detach().abs().max()) for parameter in own.parameters()) <= RANGE
    assert torch.allclose(own(torch.tensor([[0, 0]])).exp()[0, 1], torch.full((3,), 1 / 3), atol=0.03)


def test_a_value_depends_on_those_before_it() -> None:
    """Only equal values of two choices earn anything: no probabilities of each for itself make that more than half."""
    space = Space([Choice(f"{site}:keep", (True, False), True) for site in "ab"])
    strategy = Controller(space, 1, learning_rate=0.03, draws=32)
    learner = strategy.begin()
    known = {point(space, rank): float(len(point(space, rank)) != 1) for rank in range(4)}
    for index in range(60):
        strategy.learn(learner, strategy.draws_of(learner, index), Decision(), known)
    found = strategy.draws_of(learner, 99).rows
    assert (found[:, 0] == found[:, 1]).mean() > 0.9
    told = learner.policy(torch.tensor([[0, 0], [1, 0]])).exp()[:, 1]
    assert told[0, 0] > 0.8 and told[1, 1] > 0.8


def test_rewards_are_cubes_of_standings() -> None:
    strategy = Controller(TWO, 0)
    speeds = (1.0, 2.0, 1.5)
    strategy.tell([Observation(point(TWO, rank), (speed, 0.1)) for rank, speed in enumerate(speeds)])
    assert list(strategy.earned().values()) == pytest.approx([0.5**3, 1.0, 0.5**3])


def test_conforms() -> None:
    assert len(check(lambda space, seed: Controller(space, seed), spaces=("four points", "conditional"))) == 2


def test_beats_random_search() -> None:
    assert beat_random_search("controller", rounds=40, seeds=2)
