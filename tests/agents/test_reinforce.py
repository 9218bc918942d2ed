"""REINFORCE: its mean gradient is the exact one, with any baseline; returns of whole episodes; the chain's policy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from agent_toys import Broken, Chain
from enumerated_gradients import exact_gradient, mean_gradient, one_step
from torch import nn

from whet.agents import reinforce
from whet.agents.environments import Environments
from whet.agents.reinforce import Reinforce, ReinforceLearner
from whet.agents.rollout import Rollout
from whet.policies.spaces import AgentError


def learner(**options: object) -> ReinforceLearner:
    agent = Reinforce(hidden=(), **options)  # type: ignore[arg-type]
    return agent.begin(Environments(Chain, 1, seed=0, name="chain"), 100, seed=0)


@pytest.mark.parametrize("baseline", [True, False])
def test_its_mean_gradient_is_that_of_the_expected_return(baseline: bool) -> None:
    found = learner(baseline=baseline)
    nn.init.normal_(found.actor.network.critic[1].bias, 5.0)
    gradient = mean_gradient(found.actor.network.actor, lambda episode: found.loss([episode]))
    assert torch.allclose(-gradient, exact_gradient(found.actor.network.actor), atol=1e-6)


def test_the_baseline_takes_variance_away_and_learns_the_return() -> None:
    spread = {}
    for baseline in (True, False):
        found = learner(baseline=baseline)
        nn.init.zeros_(found.actor.network.critic[1].weight)
        found.actor.network.critic[1].bias.data.fill_(2.0)
        each = []
        for action in (0, 1):
            loss = found.loss([one_step(action)])
            each.append(torch.autograd.grad(loss, found.actor.network.actor[1].bias)[0])
        spread[baseline] = float(torch.stack(each).square().sum())
    assert spread[True] < 0.3 * spread[False]


@pytest.mark.parametrize("terminated, by_hand", [(True, [1.75, 1.5, 1.0]), (False, [2.25, 2.5, 3.0])])
def test_returns_are_discounted_to_the_end_of_the_episode(terminated: bool, by_hand: list[float]) -> None:
    """Where a time limit cut the episode off, the baseline, here 4, stands for what would have come."""
    found = learner(discount=0.5)
    nn.init.zeros_(found.actor.network.critic[1].weight)
    found.actor.network.critic[1].bias.data.fill_(4.0)
    seen, ends = np.zeros((3, 1, 4), np.float32), np.array([[False], [False], [True]])
    actions, rewards = np.zeros((3, 1), np.int64), np.ones((3, 1), np.float32)
    episode = Rollout(seen, actions, rewards, seen, ends & terminated, ends, (3.0,))
    assert found.returns(episode).ravel().tolist() == by_hand


def test_it_learns_to_go_right() -> None:
    found = learner(learning_rate=0.1, discount=0.8)
    returns: list[float] = []
    while found.actor.environments.steps < 700:
        returns += found.advance()
    assert found.policy()(torch.eye(4)).softmax(1)[:, 1].min() > 0.8 and len(returns) > 40


def test_an_episode_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinforce, "MOST_STEPS", 50)
    found = Reinforce().begin(Environments(Broken, 1, name="endless"), 10, 0)
    with pytest.raises(AgentError, match=re.escape("an episode of 'endless' has not ended after 50 steps")):
        found.advance()


def test_it_plays_in_one_environment() -> None:
    with pytest.raises(AgentError, match="one environment; got environments=4"):
        Reinforce(environments=4)
