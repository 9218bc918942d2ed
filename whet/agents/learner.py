"""What all agents are: a plan, `Agent`, and what carries it out on environments, `Learner`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from whet.agents.environments import Environments
from whet.policies.spaces import Array, Spaces


class Learner(Protocol):
    """An agent at work on environments. All its random numbers are of generators of its own."""

    def advance(self) -> tuple[float, ...]:
        """Take some steps, learn from them, and return the returns of the episodes that ended."""
        ...

    def policy(self) -> nn.Module:
        """Return a copy of the policy as it is deployed: observations (N, *shape) to scores of actions (N, actions)."""
        ...

    def states(self, count: int) -> Array:
        """Return the last observations, at most `count`, (count, *shape), for calibration and distillation."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        ...


class Agent(Protocol):
    """How to learn: a frozen dataclass whose fields are the hyper-parameters."""

    @property
    def environments(self) -> int:
        """How many environments are stepped together."""
        ...

    def begin(self, environments: Environments, steps: int, seed: int) -> Learner:
        """Return a learner that is to take `steps` steps."""
        ...

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to scores (N, actions)."""
        ...
