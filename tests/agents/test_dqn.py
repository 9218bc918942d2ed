"""Deep Q-networks: a table learns the values of the chain exactly, by every switch; what each switch turns on."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from agent_toys import Chain, Picture, best_values
from torch import nn

from whet.agents.categorical import Categorical
from whet.agents.dqn import DQN, DQNLearner
from whet.agents.dueling import Dueling
from whet.agents.environments import Environments
from whet.agents.noisy import NoisyLinear
from whet.agents.prioritized import Prioritized
from whet.agents.quantile import Quantiles
from whet.core.checks import ValueRangeError
from whet.core.errors import UnknownNameError

TABLE: dict[str, Any] = {
    "hidden": (), "learning_rate": 0.05, "discount": 0.8, "batch": 64, "buffer": 600, "begin_after": 60,
    "update_every": 2, "target_every": 10, "explore_for": 1.0, "last_epsilon": 0.6,
}  # fmt: skip


def learner(steps: int, **options: Any) -> DQNLearner:
    agent = DQN(**{**TABLE, **options})
    return agent.begin(Environments(Chain, agent.environments, seed=1, name="chain"), steps, seed=0)


def table(steps: int = 1000, **options: Any) -> np.ndarray:
    found = learner(steps, **options)
    while found.environments.steps < steps:
        found.advance()
    with torch.no_grad():
        return found.policy()(torch.eye(4)).numpy()


@pytest.mark.parametrize(
    "options",
    [
        {}, {"double": True, "dueling": True, "environments": 3}, {"prioritized": True},
        {"distribution": "quantile", "quantiles": 4},
        {"distribution": "categorical", "low": 0.0, "high": 1.0, "atoms": 11},
    ],
    ids=str,
)  # fmt: skip
def test_a_table_learns_the_values_of_the_chain(options: dict[str, Any]) -> None:
    assert np.abs(table(**options) - best_values(0.8)).max() < 0.05


def test_three_steps_are_as_exact_where_actions_are_the_best() -> None:
    """Targets over several steps are of the policy that acted: with no exploration left they are the best one's."""
    found = table(1200, n_steps=3, explore_for=0.3, last_epsilon=0.0)
    assert np.abs(found[:, 1] - best_values(0.8)[:, 1]).max() < 0.05


def test_noise_in_weights_explores_in_place_of_epsilon() -> None:
    """Values are learned under noise that does not vanish, so they are near, not exact; the policy is the best one."""
    found = table(1200, noisy=True)
    assert np.abs(found[:, 1] - best_values(0.8)[:, 1]).max() < 0.2
    assert found.argmax(1).tolist() == [1, 1, 1, 1]


def test_each_switch_turns_on_its_part() -> None:
    plain = learner(10)
    assert not any(isinstance(m, Dueling | NoisyLinear) for m in plain.network.modules())
    assert any(isinstance(m, Dueling) for m in learner(10, dueling=True).network.modules())
    assert any(isinstance(m, NoisyLinear) for m in learner(10, noisy=True).network.modules())
    assert isinstance(learner(10, prioritized=True).replay, Prioritized)
    assert learner(10, n_steps=3).n_step.n == 3
    assert isinstance(learner(10, distribution="categorical").values, Categorical)
    assert isinstance(learner(10, distribution="quantile").values, Quantiles)


def test_double_chooses_by_the_network_and_values_by_its_target() -> None:
    for double, wanted in ((True, 1.0), (False, 5.0)):
        found = learner(10, double=double)
        for network, values in ((found.network, (3.0, 2.0)), (found.target, (1.0, 5.0))):
            nn.init.zeros_(network[1].layer.weight)
            network[1].layer.bias.data = torch.tensor(values)
        assert found._following(torch.eye(4)[:1], found.network, found.target).tolist() == [[wanted]]


def test_the_target_network_stays_until_it_is_set() -> None:
    found = learner(1000, target_every=5, update_every=1, begin_after=0)
    begun = found.target[1].layer.weight.clone()
    for _ in range(4):
        found.advance()
    assert int(found.updates) == 4 and torch.equal(found.target[1].layer.weight, begun)
    found.advance()
    assert torch.equal(found.target[1].layer.weight, found.network[1].layer.weight)
    assert not torch.equal(found.target[1].layer.weight, begun)


def test_pictures_of_bytes_are_learned_from() -> None:
    agent = DQN((16,), discount=0.0, begin_after=50, update_every=1, explore_for=0.5, last_epsilon=0.1, buffer=500)
    found = agent.begin(Environments(Picture, 1, seed=0, name="picture"), 500, seed=0)
    while found.environments.steps < 500:
        found.advance()
    pictures = torch.zeros(5, 5, 5, 1)
    pictures[range(5), range(5)] = 1.0
    assert found.policy()(pictures).argmax(1).tolist() == [0, 0, 0, 1, 1]
    assert found.replay.tensors()["observations"].dtype == torch.uint8


def test_the_last_states_are_given_for_calibration() -> None:
    found = learner(100, buffer=10)
    for _ in range(25):
        last = found.environments.observations.copy()
        found.advance()
    assert np.array_equal(found.states(3)[0], last[0]) and found.states(99).shape == (10, 4)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"distribution": "quantil"}, UnknownNameError, "unknown distribution 'quantil'; did you mean 'quantile'"),
        ({"discount": 1.5}, ValueRangeError, "discount must lie in [0, 1]; got 1.5"),
        ({"batch": 0}, ValueRangeError, "batch must be a whole number of at least 1; got 0"),
    ],
)
def test_values_that_cannot_be_meant(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        DQN(**options)
