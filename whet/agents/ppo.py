"""Proximal policy optimization, with generalized advantages."""

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
class PPO:
    r"""Policy gradients of several epochs over the same steps, kept near the policy that took them.

    With the ratio :math:`\rho = \pi(a | s) / \pi_{old}(a | s)` and advantages :math:`\hat A` the policy climbs
    :math:`E \min(\rho \hat A, \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon) \hat A)`, plus `entropy` times the
    policy's entropy, less `value_weight` times the squared error of the values to the lambda-returns. The learning
    rate and the clip fall to 0 in a line where `falling` is on.

    Schulman, Wolski, Dhariwal, Radford and Klimov (2017), Proximal Policy Optimization Algorithms; advantages as in
    Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation. The defaults
    are for small problems of control and were set on CartPole-v1.
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    discount: float = 0.98
    trace: float = 0.8
    length: int = 32
    epochs: int = 10
    minibatches: int = 1
    clip: float = 0.2
    entropy: float = 0.0
    value_weight: float = 0.5
    largest_gradient: float = 0.5
    falling: bool = True
    environments: int = 8

    def __post_init__(self) -> None:
        for name in ("length", "epochs", "minibatches", "environments"):
            whole(name, getattr(self, name))
        for name in ("learning_rate", "clip", "largest_gradient"):
            positive(name, getattr(self, name))
        for name in ("discount", "trace"):
            share(name, getattr(self, name))

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to logits (N, actions)."""
        return ActorCritic(spaces, self.hidden).actor

    def begin(self, environments: Environments, steps: int, seed: int) -> PPOLearner:
        """Return a learner that is to take `steps` steps."""
        return PPOLearner(self, environments, steps, seed)


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return what the policy climbs, of ratios and advantages (B,): the lesser of it with and without the clip, (B,).

    >>> clipped(torch.tensor([1.5, 1.5]), torch.tensor([1.0, -1.0]), 0.2).tolist()
    [1.2000000476837158, -1.5]
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


class PPOLearner(ActorLearner):
    """A policy that learns on environments by proximal policy optimization."""

    def __init__(self, agent: PPO, environments: Environments, steps: int, seed: int) -> None:
        self.agent, self.steps, self.actor = agent, steps, Actor(environments, agent.hidden, seed)
        self.optimizer = torch.optim.Adam(self.actor.network.parameters(), agent.learning_rate, eps=1e-5, fused=True)

    def advance(self) -> tuple[float, ...]:
        """Take `length` steps in each environment, and learn from them for some epochs."""
        agent = self.agent
        left = max(0.0, 1 - self.actor.environments.steps / self.steps) if agent.falling else 1.0
        rollout, gained, values = self.actor.advanced(agent.length, agent.discount, agent.trace)
        for group in self.optimizer.param_groups:
            group["lr"] = agent.learning_rate * left
        self._learn(rollout, torch.from_numpy(gained.ravel()), torch.from_numpy((gained + values).ravel()), left)
        return rollout.returns

    def _learn(self, rollout: Rollout, gained: Tensor, targets: Tensor, left: float) -> None:
        network, agent = self.actor.network, self.agent
        seen, actions = prepared(rollout.flat("observations")), torch.from_numpy(rollout.flat("actions"))
        with torch.no_grad():
            before = log_chance(network.actor(seen), actions)
        for _ in range(agent.epochs):
            order = torch.randperm(len(seen), generator=self.actor.generator)
            for rows in order.chunk(agent.minibatches):
                logits = network.actor(seen[rows])
                ratio = (log_chance(logits, actions[rows]) - before[rows]).exp()
                gain = gained[rows]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                missed = (network.critic(seen[rows])[:, 0] - targets[rows]).square().mean()
                loss = agent.value_weight * missed - clipped(ratio, gain, agent.clip * left).mean()
                if agent.entropy:
                    loss = loss - agent.entropy * entropy(logits).mean()
                self.actor.step(loss, self.optimizer, agent.largest_gradient)
