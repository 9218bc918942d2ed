"""`Spaces`: what agents see and do, and the error of an agent that cannot work on what it was given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.core.errors import WhetError

Array = np.ndarray[Any, np.dtype[Any]]
PICTURES = ("uint8", "bool")
"""Types of observations that are kept as they are; all others become float32."""


class AgentError(WhetError):
    """An agent cannot train or play on what it was given."""


@dataclass(frozen=True)
class Spaces:
    """What an environment gives and takes: the shape and type of observations, and how many actions there are.

    `states` is the number of states where observations are whole numbers; they become vectors with a single 1.
    `first_action` is the environment's number of action 0.
    """

    shape: tuple[int, ...]
    dtype: str
    actions: int
    states: int = 0
    first_observation: int = 0
    first_action: int = 0

    @classmethod
    def of(cls, environment: Any, name: str) -> Spaces:
        """Read them from an environment.

        Raises: AgentError that names the space of observations or actions that agents cannot work with.
        """
        from gymnasium.spaces import Box, Discrete

        seen, acts = environment.observation_space, environment.action_space
        if not isinstance(acts, Discrete):
            raise AgentError(
                f"environment '{name}' has actions {acts}: agents choose among finitely many, Discrete(n)."
            )
        actions, first = int(acts.n), int(acts.start)
        if isinstance(seen, Discrete):
            return cls((int(seen.n),), "float32", actions, int(seen.n), int(seen.start), first)
        if not isinstance(seen, Box) or len(seen.shape) not in (1, 2, 3):
            raise AgentError(
                f"environment '{name}' has observations {seen}: agents see vectors, rows of them, "
                "pictures of shape (height, width, channels), or one of n states, Discrete(n)."
            )
        dtype = str(seen.dtype) if str(seen.dtype) in PICTURES else "float32"
        return cls(tuple(map(int, seen.shape)), dtype, actions, 0, 0, first)

    def empty(self, *leading: int) -> Array:
        """Return zeros for observations, of shape (*leading, *shape)."""
        return np.zeros((*leading, *self.shape), self.dtype)

    def write(self, observation: Any, row: Array, name: str) -> None:
        """Put an observation, as the environment gave it, into `row` of shape `shape`.

        Raises: AgentError for one of another shape, and for numbers that are not finite.
        """
        if self.states:
            row[:] = 0
            row[int(observation) - self.first_observation] = 1
            return
        given = np.asarray(observation)
        if given.shape != self.shape:
            raise AgentError(
                f"environment '{name}' gave an observation of shape {given.shape}; its space says {self.shape}."
            )
        row[...] = given
        if self.dtype == "float32" and not math.isfinite(float(row.sum())):
            raise AgentError(f"environment '{name}' gave an observation that is not finite: {given.ravel()[:8]}.")
