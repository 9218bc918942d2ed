"""Iterated Q-networks: network k of the chain is k Bellman updates ahead of the target; how the chain moves on."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from agent_toys import LENGTH, Chain, best_values
from torch import nn

from whet.agents.dqn import DQN
from whet.agents.environments import Environments
from whet.agents.iterated_dqn import IteratedDQN, IteratedDQNLearner
from whet.core.checks import ValueRangeError
from whet.policies.spaces import AgentError

TABLE: dict[str, Any] = {
    "hidden": (), "learning_rate": 0.05, "discount": 0.8, "batch": 64, "buffer": 600, "begin_after": 60,
    "update_every": 2, "target_every": 10, "explore_for": 1.0, "last_epsilon": 0.6,
}  # fmt: skip


def learner(steps: int, **options: Any) -> IteratedDQNLearner:
    agent = IteratedDQN(**{**TABLE, "follow_every": 5, **options})
    return agent.begin(Environments(Chain, 1, seed=1, name="chain"), steps, seed=0)


def played(found: Any, steps: int) -> Any:
    while found.environments.steps < steps:
        found.advance()
    return found


def values(network: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return network(torch.eye(LENGTH))[:, :, 0].numpy()


def updated(q: np.ndarray, discount: float) -> np.ndarray:
    """Return one Bellman update of values (states, actions) of the chain."""
    best, found = q.max(1), np.zeros_like(q)
    for state in range(LENGTH):
        found[state, 0] = discount * best[max(0, state - 1)]
        found[state, 1] = 1.0 if state == LENGTH - 1 else discount * best[state + 1]
    return found


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_network_k_is_k_bellman_updates_ahead_of_the_target() -> None:
    """The target tells that nothing has a value, and stays: the chain is what updates make of that, one by one."""
    found = learner(900, target_every=100_000)
    for parameter in found.target.parameters():
        nn.init.zeros_(parameter)
    wanted = values(found.target).copy()
    for network in played(found, 900).chain:
        wanted = updated(wanted, 0.8)
        assert np.abs(values(network) - wanted).max() < 0.03
    assert np.abs(wanted - updated(wanted, 0.8)).max() > 0.3, "three updates are not all that there is to learn"


def test_it_comes_to_the_values_of_the_chain() -> None:
    found = played(learner(1000, target_every=40, follow_every=10), 1000)
    with torch.no_grad():
        assert np.abs(found.policy()(torch.eye(LENGTH)).numpy() - best_values(0.8)).max() < 0.05


def test_the_chain_moves_on_by_one() -> None:
    found = learner(100)
    for network in (*found.chain, *found.targets):
        nn.init.normal_(network[1].layer.weight)
    before = [copy.deepcopy(network) for network in found.chain]
    found._renew()
    assert same(found.target, before[0]) and same(found.chain[0], before[1]) and same(found.chain[1], before[2])
    assert same(found.chain[2], before[2]), "the last goes on as it is"
    assert same(found.targets[1], before[1]) and same(found.targets[2], before[2])


def test_targets_in_the_chain_follow_when_they_are_due_and_the_first_stays() -> None:
    found = learner(300, follow_every=4, target_every=1000, begin_after=0, update_every=1)
    begun = copy.deepcopy(found.targets)
    for _ in range(3):
        found.advance()
    assert all(map(same, found.targets, begun))
    found.advance()
    assert same(found.targets[0], begun[0]) and all(map(same, found.targets[1:], found.chain[:-1]))
    assert not same(found.targets[1], begun[1])


def test_a_chain_of_one_is_a_deep_q_network() -> None:
    one = played(learner(300, length=1), 300)
    plain = played(DQN(**TABLE).begin(Environments(Chain, 1, seed=1, name="chain"), 300, seed=0), 300)
    assert same(one.network, plain.network) and same(one.target, plain.target)


def test_each_network_acts_as_often() -> None:
    found = learner(100)
    acted = [found.chain.index(found._acting()) for _ in range(900)]
    assert np.abs(np.bincount(acted, minlength=3) / 900 - 1 / 3).max() < 4 * (0.25 / 900) ** 0.5


def test_a_state_comes_back() -> None:
    ours, other = played(learner(400), 131), learner(400)
    other.restore({name: tensor.clone() for name, tensor in ours.tensors().items()})
    for _ in range(40):
        ours.advance()
        other.advance()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in ours.tensors().items())


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"length": 0}, ValueRangeError, "length must be a whole number of at least 1; got 0"),
        ({"prioritized": True}, AgentError, "prioritized and noisy are not for it"),
    ],
)
def test_values_that_cannot_be_meant(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        IteratedDQN(**options)
