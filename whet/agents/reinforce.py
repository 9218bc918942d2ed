"""REINFORCE: the policy gradient by whole episodes, with a learned baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from whet.agents.environments import Environments
from whet.agents.gae import advantages
from whet.agents.on_policy import Actor, ActorLearner
from whet.agents.rollout import ActorCritic, Rollout, collected, joined
from whet.core.checks import positive, share, whole
from whet.policies.likelihood import log_chance
from whet.policies.networks import prepared
from whet.policies.spaces import AgentError, Array, Spaces

MOST_STEPS = 100_000
"""An episode that has not ended after so many steps has no return to learn from."""


@dataclass(frozen=True)
class Reinforce:
    r"""Climb :math:`\log \pi(a_t | s_t) (G_t - b(s_t))` over whole episodes.

    :math:`G_t = \sum_{k \ge 0} \gamma^k r_{t+k}` is the return from t on, and the baseline b a network that learns it:
    any function of the state leaves the gradient's mean as it is, and one near the return takes most of its variance
    away. Where a time limit cuts an episode off, the baseline stands for what would have come.

    Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 3e-3
    discount: float = 0.99
    episodes: int = 4
    baseline: bool = True
    value_weight: float = 0.5
    largest_gradient: float = 0.5
    environments: int = 1

    def __post_init__(self) -> None:
        whole("episodes", self.episodes)
        for name in ("learning_rate", "largest_gradient"):
            positive(name, getattr(self, name))
        share("discount", self.discount)
        if self.environments != 1:
            raise AgentError(
                f"reinforce plays whole episodes in one environment; got environments={self.environments}."
            )

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to logits (N, actions)."""
        return ActorCritic(spaces, self.hidden).actor

    def begin(self, environments: Environments, steps: int, seed: int) -> ReinforceLearner:
        """Return a learner; it ends after the update in which it took `steps` steps."""
        return ReinforceLearner(self, environments, steps, seed)


class ReinforceLearner(ActorLearner):
    """A policy that learns from its own whole episodes."""

    def __init__(self, agent: Reinforce, environments: Environments, steps: int, seed: int) -> None:
        self.agent, self.actor = agent, Actor(environments, agent.hidden, seed)
        self.optimizer = torch.optim.Adam(self.actor.network.parameters(), agent.learning_rate, fused=True)

    def advance(self) -> tuple[float, ...]:
        """Play some episodes to their ends, and learn from them once."""
        played = [self._episode() for _ in range(self.agent.episodes)]
        self.actor.step(self.loss(played), self.optimizer, self.agent.largest_gradient)
        return tuple(value for episode in played for value in episode.returns)

    def _episode(self) -> Rollout:
        parts: list[Rollout] = []
        while not (parts and parts[-1].ended.any()):
            parts.append(collected(self.actor.environments, self.actor.choose, 1))
            if len(parts) > MOST_STEPS:
                raise AgentError(
                    f"an episode of '{self.actor.environments.name}' has not ended after {MOST_STEPS:,} steps: "
                    "reinforce learns from whole episodes. Take a2c or ppo."
                )
        episode = joined(parts)
        self.actor.saw(episode)
        return episode

    def returns(self, episode: Rollout) -> Array:
        """Return what each of T steps of an episode was followed by, discounted, shape (T, 1)."""
        _, following = self.actor.network.valued(episode)
        zero = np.zeros_like(episode.rewards)
        end = episode.ended & ~episode.terminated
        return advantages(
            episode.rewards, zero, following * end, episode.terminated, episode.ended, self.agent.discount, 1.0
        )

    def loss(self, episodes: list[Rollout]) -> Tensor:
        """Return what is descended, a scalar, of some whole episodes."""
        network = self.actor.network
        seen = prepared(np.concatenate([e.flat("observations") for e in episodes]))
        actions = torch.from_numpy(np.concatenate([e.flat("actions") for e in episodes]))
        returns = torch.from_numpy(np.concatenate([self.returns(e).ravel() for e in episodes]))
        values = network.critic(seen)[:, 0]
        gained = returns - values.detach() if self.agent.baseline else returns
        climbed = (log_chance(network.actor(seen), actions) * gained).mean()
        missed: Tensor = (returns - values).square().mean()
        return self.agent.value_weight * missed - climbed
