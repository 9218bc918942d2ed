"""What was seen, done and gained in T steps of N environments, and networks of a policy beside its values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from whet.agents.environments import Environments, Steps
from whet.policies.networks import body, orthogonal, prepared
from whet.policies.spaces import Array, Spaces


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments: observations and what followed (T, N, *shape), all else (T, N)."""

    observations: Array
    actions: Array
    rewards: Array
    following: Array
    terminated: Array
    ended: Array
    returns: tuple[float, ...]

    def flat(self, name: str) -> Array:
        """Return an array with the steps of all environments one after the other, (T N, ...)."""
        found: Array = getattr(self, name)
        return found.reshape(-1, *found.shape[2:])


def collected(environments: Environments, choose: Callable[[Array], Array], length: int) -> Rollout:
    """Take `length` steps with the actions (N,) that `choose` gives for observations (N, *shape)."""
    seen: list[Array] = []
    acted: list[Array] = []
    steps: list[Steps] = []
    for _ in range(length):
        seen.append(environments.observations.copy())
        acted.append(choose(seen[-1]))
        steps.append(environments.step(acted[-1]))
    names = ("rewards", "following", "terminated", "ended")
    rewards, following, terminated, ended = (np.stack([getattr(s, name) for s in steps]) for name in names)
    returns = tuple(value for step in steps for value in step.returns)
    return Rollout(np.stack(seen), np.stack(acted), rewards, following, terminated, ended, returns)


class ActorCritic(nn.Module):
    """A policy and the values of states, by two networks of the same form that share nothing."""

    def __init__(self, spaces: Spaces, hidden: Sequence[int]) -> None:
        super().__init__()
        layers, features = body(spaces.shape, hidden, activation=nn.Tanh)
        other, _ = body(spaces.shape, hidden, activation=nn.Tanh)
        for part in (layers, other):
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    orthogonal(layer)
        self.axes = len(spaces.shape)
        self.actor = nn.Sequential(layers, orthogonal(nn.Linear(features, spaces.actions), 0.01))
        self.critic = nn.Sequential(other, orthogonal(nn.Linear(features, 1), 1.0))

    def values(self, observations: Array) -> Tensor:
        """Return the values (...) of observations (..., *shape), whatever axes come first."""
        leading = observations.shape[: observations.ndim - self.axes]
        flat = observations.reshape(math.prod(leading), *observations.shape[len(leading) :])
        found: Tensor = self.critic(prepared(flat))
        return found.view(leading)

    def valued(self, rollout: Rollout) -> tuple[Array, Array]:
        """Return the values of what was seen and of what followed, both (T, N), without gradients."""
        with torch.no_grad():
            return self.values(rollout.observations).numpy(), self.values(rollout.following).numpy()


def joined(parts: Sequence[Rollout]) -> Rollout:
    """Return rollouts of the same environments as one, in their order."""

    def one(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts])

    returns = tuple(value for part in parts for value in part.returns)
    return Rollout(
        one("observations"), one("actions"), one("rewards"), one("following"), one("terminated"), one("ended"), returns
    )
