"""Advantage actor-critic, synchronous: several environments a step, one update for all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.agents.environments import Environments
from whet.agents.on_policy import Actor, ActorLearner
from whet.agents.rollout import ActorCritic, Rollout
from whet.core.checks import positive, share, whole
from whet.policies.likelihood import entropy, log_chance
from whet.policies.networks import prepared
from whet.policies.spaces import Spaces


@dataclass(frozen=True)
class A2C:
    r"""Policy gradients after every few steps, with the values of states as the baseline.

    The gradient is that of :math:`\log \pi(a_t | s_t) (R_t - V(s_t)) + \beta H(\pi(s_t))`, where
    :math:`R_t = \sum_{i < k} \gamma^i r_{t+i} + \gamma^k V(s_{t+k})` runs to the end of the `length` steps or of the
    episode (which is `trace` 1); values learn from the squared error to R. Mnih et al. let each environment's own
    process update shared weights whenever it likes; here all take their steps together and make one update, which
    needs no locks and gives the same result from the same seed. RMSprop as there.

    Mnih et al. (2016), Asynchronous Methods for Deep Reinforcement Learning.
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 7e-4
    discount: float = 0.99
    trace: float = 1.0
    length: int = 5
    entropy: float = 0.0
    value_weight: float = 0.5
    largest_gradient: float = 0.5
    falling: bool = True
    environments: int = 8

    def __post_init__(self) -> None:
        for name in ("length", "environments"):
            whole(name, getattr(self, name))
        for name in ("learning_rate", "largest_gradient"):
            positive(name, getattr(self, name))
        for name in ("discount", "trace"):
            share(name, getattr(self, name))

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to logits (N, actions)."""
        return ActorCritic(spaces, self.hidden).actor

    def begin(self, environments: Environments, steps: int, seed: int) -> A2CLearner:
        """Return a learner that is to take `steps` steps."""
        return A2CLearner(self, environments, steps, seed)


class A2CLearner(ActorLearner):
    """A policy that learns on environments by its advantages."""

    def __init__(self, agent: A2C, environments: Environments, steps: int, seed: int) -> None:
        self.agent, self.steps, self.actor = agent, steps, Actor(environments, agent.hidden, seed)
        self.optimizer = torch.optim.RMSprop(
            self.actor.network.parameters(), agent.learning_rate, alpha=0.99, eps=1e-5, foreach=True
        )

    def advance(self) -> tuple[float, ...]:
        """Take `length` steps in each environment, and learn from them once."""
        agent = self.agent
        left = max(0.0, 1 - self.actor.environments.steps / self.steps) if agent.falling else 1.0
        rollout, gained, values = self.actor.advanced(agent.length, agent.discount, agent.trace)
        for group in self.optimizer.param_groups:
            group["lr"] = agent.learning_rate * left
        targets = torch.from_numpy((gained + values).ravel())
        self.actor.step(self.loss(rollout, targets), self.optimizer, agent.largest_gradient)
        return rollout.returns

    def loss(self, rollout: Rollout, targets: Tensor) -> Tensor:
        """Return what is descended, a scalar, of T steps in N environments and the returns (T N,) they aim at."""
        network = self.actor.network
        seen, actions = prepared(rollout.flat("observations")), torch.from_numpy(rollout.flat("actions"))
        logits, values = network.actor(seen), network.critic(seen)[:, 0]
        climbed = log_chance(logits, actions) * (targets - values.detach()) + self.agent.entropy * entropy(logits)
        missed = (targets - values).square().mean()
        found: Tensor = self.agent.value_weight * missed - climbed.mean()
        return found
