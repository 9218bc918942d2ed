"""What learners share that learn from steps of their present policy alone, and then forget them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from whet.agents.environments import Environments
from whet.agents.gae import advantages
from whet.agents.rollout import ActorCritic, Rollout, collected
from whet.agents.state import Part, gathered, spread
from whet.policies.exploration import sampled
from whet.policies.networks import prepared, seeded
from whet.policies.spaces import Array

KEPT = 2000
"""How many observations are kept for calibration and distillation."""


class Recent:
    """The last observations that were seen, at most `KEPT`, in the environment's own type."""

    def __init__(self, environments: Environments) -> None:
        self.rows = environments.spaces.empty(0)

    def add(self, observations: Array) -> None:
        """Take observations (B, *shape)."""
        self.rows = np.concatenate([self.rows, observations])[-KEPT:]

    def tensors(self) -> dict[str, Tensor]:
        """Return the observations, (rows, *shape)."""
        return {"rows": torch.from_numpy(self.rows)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to what `tensors` told, in its shapes."""
        self.rows = tensors["rows"].numpy().copy()


class Actor:
    """A policy with values, its optimizer, environments and random numbers: what a policy gradient works on."""

    def __init__(self, environments: Environments, hidden: tuple[int, ...], seed: int) -> None:
        self.environments, self.generator = environments, torch.Generator().manual_seed(seed)
        with seeded(seed):
            self.network = ActorCritic(environments.spaces, hidden)
        self.recent = Recent(environments)

    @torch.no_grad()
    def choose(self, observations: Array) -> Array:
        """Return an action (N,) for each of observations (N, *shape), drawn by the policy."""
        return sampled(self.network.actor(prepared(observations)), self.generator)

    def policy(self) -> nn.Module:
        """Return a copy of the policy as it is deployed: observations (N, *shape) to logits (N, actions)."""
        return copy.deepcopy(self.network.actor).eval()

    def advanced(self, length: int, discount: float, trace: float) -> tuple[Rollout, Array, Array]:
        """Take T = `length` steps in each of N environments; return them, their advantages and their values, (T, N)."""
        rollout = collected(self.environments, self.choose, length)
        self.saw(rollout)
        values, following = self.network.valued(rollout)
        ends = rollout.terminated, rollout.ended
        return rollout, advantages(rollout.rewards, values, following, *ends, discount, trace), values

    def saw(self, rollout: Rollout) -> None:
        """Keep the last observations of a rollout."""
        self.recent.add(rollout.flat("observations")[-KEPT:])

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer, largest_gradient: float) -> None:
        """Take one step down a loss, a scalar, the gradient cut to a norm."""
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), largest_gradient)
        optimizer.step()

    def tensors(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        return gathered(**self._parts(), optimizer=optimizer)

    def restore(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        spread(tensors, **self._parts(), optimizer=optimizer)

    def _parts(self) -> dict[str, Part]:
        names = ("network", "generator", "environments", "recent")
        return {name: getattr(self, name) for name in names}


class ActorLearner:
    """What a learner that has an actor and one optimizer says of itself; how it learns is its own."""

    actor: Actor
    optimizer: torch.optim.Optimizer

    def policy(self) -> nn.Module:
        """Return a copy of the policy as it is deployed: observations (N, *shape) to logits (N, actions)."""
        return self.actor.policy()

    def states(self, count: int) -> Array:
        """Return the last observations, at most `count`, (count, *shape)."""
        return self.actor.recent.rows[-count:]

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        return self.actor.tensors(self.optimizer)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        self.actor.restore(tensors, self.optimizer)
