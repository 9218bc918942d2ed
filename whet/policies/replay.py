"""The replay buffer: the last transitions, of which batches are drawn at random."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whet.core.checks import whole
from whet.policies.spaces import AgentError, Array, Spaces

SHARE_OF_MEMORY = 0.8
"""What of the memory that is free a buffer may take: the rest is for networks and checkpoints. Not measured."""


@dataclass(frozen=True)
class Transitions:
    """B transitions: observations (B, *shape), actions, rewards and discounts (B,), what followed (B, *shape).

    `discounts` is what the value of what followed counts: gamma to the number of steps, and 0 where the episode
    terminated. So the target of each is `reward + discount * value(following)`, whatever its length.
    """

    observations: Array
    actions: Array
    rewards: Array
    following: Array
    discounts: Array

    def __len__(self) -> int:
        return len(self.actions)


class Replay:
    """A ring of the last `capacity` transitions, kept in the environment's own type of observations.

    Raises: AgentError where it would take more memory than there is, with both figures.
    """

    def __init__(self, spaces: Spaces, capacity: int) -> None:
        self.spaces, self.capacity = spaces, whole("buffer", capacity)
        refuse_larger_than_memory(bytes_of(spaces, self.capacity), self.capacity)
        self.observations, self.following = spaces.empty(self.capacity), spaces.empty(self.capacity)
        self.actions = np.zeros(self.capacity, np.int64)
        self.rewards, self.discounts = np.zeros(self.capacity, np.float32), np.zeros(self.capacity, np.float32)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, new: Transitions) -> Array:
        """Put transitions in place of the oldest; return the rows that they have, shape (B,)."""
        rows = (self.added + np.arange(len(new))) % self.capacity
        for name in ("observations", "actions", "rewards", "following", "discounts"):
            getattr(self, name)[rows] = getattr(new, name)
        self.added += len(new)
        return rows

    def rows(self, rows: Array) -> Transitions:
        """Return the transitions of rows, shape (B,)."""
        return Transitions(
            self.observations[rows], self.actions[rows], self.rewards[rows], self.following[rows], self.discounts[rows]
        )

    def drawn(self, count: int, generator: torch.Generator) -> Array:
        """Return `count` rows drawn uniformly with replacement, shape (count,)."""
        return torch.randint(len(self), (count,), generator=generator).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Return what was put in: the used rows of each array, and how many ever came, a scalar."""
        names = ("observations", "actions", "rewards", "following", "discounts")
        found = {name: torch.from_numpy(getattr(self, name)[: len(self)]) for name in names}
        return {**found, "added": torch.tensor(self.added)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to what `tensors` told, in its shapes."""
        self.added = int(tensors["added"])
        for name, value in tensors.items():
            if name != "added":
                getattr(self, name)[: len(self)] = value.numpy()


def bytes_of(spaces: Spaces, capacity: int) -> int:
    """Return what a buffer takes in memory.

    >>> bytes_of(Spaces((4,), "float32", 2), 1000)
    48000
    """
    observation = int(np.prod(spaces.shape)) * np.dtype(spaces.dtype).itemsize
    return capacity * (2 * observation + 16)


def free_bytes() -> int:
    """Return how much memory a process can still take here."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def refuse_larger_than_memory(wanted: int, capacity: int) -> None:
    """Raise AgentError where `wanted` bytes are more than `SHARE_OF_MEMORY` of what is free."""
    free = free_bytes()
    if wanted > SHARE_OF_MEMORY * free:
        fits = int(capacity * SHARE_OF_MEMORY * free / wanted)
        raise AgentError(
            f"a replay buffer of {capacity:,} transitions takes {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB of "
            f"memory are free: at most buffer={fits} fits here."
        )
