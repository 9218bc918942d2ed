"""Parallelised Q-learning: its targets by hand, a table of the chain's values, and norms before activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from agent_toys import Chain, best_values
from torch import nn

from whet.agents.environments import Environments
from whet.agents.pqn import PQN, PQNLearner
from whet.agents.rollout import Rollout


def learner(steps: int, **options: Any) -> PQNLearner:
    table = {"hidden": (), "discount": 0.8, "learning_rate": 0.05, "length": 8, "minibatches": 2, "last_epsilon": 0.6}
    agent = PQN(**{**table, "explore_for": 1.0, **options})
    return agent.begin(Environments(Chain, agent.environments, seed=0, name="chain"), steps, seed=0)


def test_targets_are_lambda_returns_of_the_present_networks_maxima() -> None:
    found = learner(100, trace=0.5)
    layer = found.network[1].layer
    nn.init.zeros_(layer.bias)
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 5.0, 0.0, 0.0]])
    states, none = np.eye(4, dtype=np.float32), np.zeros((2, 1), bool)
    rollout = Rollout(states[[0, 1]][:, None], np.zeros((2, 1), np.int64), np.ones((2, 1), np.float32),
                      states[[1, 2]][:, None], none, none, ())  # fmt: skip
    last = 1 + 0.8 * 3
    assert np.allclose(found.targets(rollout), [[1 + 0.8 * (0.5 * last + 0.5 * 5)], [last]])
    ended = np.array([[True], [False]])
    cut = Rollout(**{**vars(rollout), "ended": ended})
    assert np.allclose(found.targets(cut), [[1 + 0.8 * 5], [last]])
    over = Rollout(**{**vars(rollout), "ended": ended, "terminated": ended})
    assert np.allclose(found.targets(over), [[1], [last]])


def test_a_table_learns_the_values_of_the_chain() -> None:
    found = learner(5000, trace=0.0)
    while found.environments.steps < 5000:
        found.advance()
    with torch.no_grad():
        table = found.policy()(torch.eye(4)).numpy()
    assert np.abs(table - best_values(0.8)).max() < 0.05


def test_norms_stand_before_activations_and_there_is_no_second_network() -> None:
    found = learner(10, hidden=(8, 8))
    kinds = [type(m) for m in found.network[0]]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
    assert sum(k.endswith("1.layer.weight") for k in found.tensors()) == 1
