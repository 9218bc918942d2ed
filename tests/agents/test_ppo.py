"""Proximal policy optimization: the gradient inside and outside of the clip; values and policy of the chain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agent_toys import Chain

from whet.agents.environments import Environments
from whet.agents.ppo import PPO, PPOLearner, clipped
from whet.core.checks import ValueRangeError


def learner(actions: int, steps: int, **options: Any) -> PPOLearner:
    agent = PPO(**{"hidden": (), "discount": 0.8, "length": 16, "epochs": 4, "minibatches": 2, **options})
    environments = Environments(lambda: Chain(actions), agent.environments, seed=0, name="chain")
    found = agent.begin(environments, steps, seed=0)
    while environments.steps < steps:
        found.advance()
    return found


@pytest.mark.parametrize(
    "ratio, advantage, gradient",
    [(1.0, 2.0, 2.0), (1.0, -2.0, -2.0), (1.3, 2.0, 0.0), (1.3, -2.0, -2.0), (0.7, 2.0, 2.0), (0.7, -2.0, 0.0)],
)
def test_what_went_far_enough_is_not_driven_on(ratio: float, advantage: float, gradient: float) -> None:
    """At the ratio 1 it is the policy gradient; beyond the clip there is none, but for the way back."""
    at = torch.tensor([ratio], requires_grad=True)
    clipped(at, torch.tensor([advantage]), 0.2).sum().backward()
    assert at.grad is not None and at.grad.item() == gradient


def test_the_values_of_the_only_policy_are_exact() -> None:
    found = learner(1, 4000, learning_rate=0.05, largest_gradient=10.0)
    values = found.actor.network.values(np.eye(4, dtype=np.float32)).detach().numpy()
    assert np.abs(values - 0.8 ** np.arange(3, -1, -1)).max() < 0.03


def test_it_learns_to_go_right() -> None:
    found = learner(2, 3000, learning_rate=0.05)
    assert found.policy()(torch.eye(4)).softmax(1)[:, 1].min() > 0.8


def test_the_policy_stays_near_the_one_that_acted() -> None:
    """Many epochs on the same steps with a large learning rate: a small clip holds ratios, a large one does not."""
    far = {}
    for clip in (0.05, 100.0):
        agent = PPO(hidden=(), clip=clip, epochs=30, learning_rate=0.02, falling=False, length=16, value_weight=0.0)
        found = agent.begin(Environments(Chain, 8, seed=0, name="chain"), 1000, seed=0)
        before = found.policy()(torch.eye(4)).softmax(1)
        found.advance()
        far[clip] = float((found.policy()(torch.eye(4)).softmax(1) / before - 1).abs().max())
    assert far[0.05] < 0.25 < far[100.0]


def test_values_that_cannot_be_meant() -> None:
    with pytest.raises(ValueRangeError, match="clip must be a number above 0; got 0"):
        PPO(clip=0)
