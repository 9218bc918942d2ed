"""Advantage actor-critic: its mean gradient is the exact one; values and policy of the chain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from agent_toys import Chain
from enumerated_gradients import REWARDS, exact_gradient, mean_gradient

from whet.agents.a2c import A2C, A2CLearner
from whet.agents.environments import Environments
from whet.agents.rollout import Rollout
from whet.policies.likelihood import entropy


def learner(actions: int = 2, steps: int = 100, **options: object) -> A2CLearner:
    agent = A2C(hidden=(), **options)  # type: ignore[arg-type]
    environments = Environments(lambda: Chain(actions), agent.environments, seed=0, name="chain")
    return agent.begin(environments, steps, seed=0)


def loss(found: A2CLearner, rollout: Rollout) -> torch.Tensor:
    return found.loss(rollout, torch.from_numpy(rollout.flat("rewards")))


def test_its_mean_gradient_is_that_of_the_expected_reward() -> None:
    found = learner()
    gradient = mean_gradient(found.actor.network.actor, lambda rollout: loss(found, rollout))
    assert torch.allclose(-gradient, exact_gradient(found.actor.network.actor), atol=1e-6)


def test_entropy_is_climbed_as_well() -> None:
    plain, with_entropy = learner(), learner(entropy=0.5)
    actor = with_entropy.actor.network.actor
    more, less = (mean_gradient(f.actor.network.actor, lambda r, f=f: loss(f, r)) for f in (with_entropy, plain))
    value = entropy(actor(torch.eye(4)[2][None])).sum()
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(actor.parameters()))])
    assert torch.allclose(less - more, 0.5 * wanted, atol=1e-6) and math.isfinite(float(REWARDS.sum()))


@pytest.mark.parametrize("trace", [1.0, 0.5])
def test_the_values_of_the_only_policy_are_exact(trace: float) -> None:
    """With one action the value of state s is 0.8^(3 - s), whatever the trace."""
    found = learner(1, 3000, discount=0.8, learning_rate=0.02, trace=trace, largest_gradient=10.0)
    while found.actor.environments.steps < 3000:
        found.advance()
    values = found.actor.network.values(np.eye(4, dtype=np.float32)).detach().numpy()
    assert np.abs(values - 0.8 ** np.arange(3, -1, -1)).max() < 0.03


def test_it_learns_to_go_right() -> None:
    found = learner(steps=4000, discount=0.8, learning_rate=0.02, entropy=0.01)
    while found.actor.environments.steps < 4000:
        found.advance()
    assert found.policy()(torch.eye(4)).argmax(1).tolist() == [1, 1, 1, 1]


def test_the_learning_rate_falls_to_nothing() -> None:
    found = learner(steps=400)
    found.advance()
    first = found.optimizer.param_groups[0]["lr"]
    while found.actor.environments.steps < 400:
        found.advance()
    assert first == pytest.approx(7e-4) and found.optimizer.param_groups[0]["lr"] == pytest.approx(7e-4 * 0.1)
