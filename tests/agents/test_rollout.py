"""Steps of several environments, values beside a policy, and the softmax's entropy."""

from __future__ import annotations

import numpy as np
import torch
from agent_toys import Chain, Picture

from whet.agents.environments import Environments
from whet.agents.rollout import ActorCritic, collected


def test_steps_stand_in_their_order() -> None:
    environments = Environments(Chain, 3, seed=0)
    begun = environments.observations.copy()
    rollout = collected(environments, lambda seen: np.ones(3, np.int64), 8)
    assert rollout.observations.shape == (8, 3, 4) and np.array_equal(rollout.observations[0], begun)
    going = ~rollout.ended[:-1]
    assert np.array_equal(rollout.following[:-1][going], rollout.observations[1:][going])
    assert len(rollout.returns) == rollout.ended.sum() > 0 and rollout.flat("rewards").shape == (24,)


def test_values_have_the_steps_own_axes() -> None:
    for environment in (Chain, Picture):
        rollout = collected(Environments(environment, 2, seed=0), lambda seen: np.zeros(2, np.int64), 3)
        network = ActorCritic(Environments(environment).spaces, (8,))
        values, following = network.valued(rollout)
        assert values.shape == following.shape == (3, 2)
        assert np.allclose(values[1, 1], network.values(rollout.observations[1, 1]).item(), atol=1e-6)


def test_a_policy_begins_nearly_uniform() -> None:
    network = ActorCritic(Environments(Chain).spaces, (8,))
    assert torch.allclose(network.actor(torch.eye(4)).softmax(1), torch.full((4, 2), 0.5), atol=0.02)
