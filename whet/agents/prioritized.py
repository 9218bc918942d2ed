"""Prioritized replay: transitions whose target was missed by more are drawn more often."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from whet.core.checks import share
from whet.policies.replay import Replay, Transitions
from whet.policies.spaces import Array, Spaces

SMALLEST = 1e-6
"""Added to every error, so that a transition whose target was met can be drawn again."""


class Prioritized:
    r"""A replay buffer that draws by how far targets were missed.

    Row i is drawn with :math:`P(i) = p_i^\alpha / \sum_k p_k^\alpha`, :math:`p_i = |\delta_i|`. What is drawn
    too often counts less in the loss: :math:`w_i = (N P(i))^{-\beta} / \max_j w_j`. What is new has the largest
    priority so far, so that it is drawn soon. The sums are kept in a binary tree: a draw takes log N.

    Shapes: rows, errors and weights (B,).
    Schaul, Quan, Antonoglou and Silver (2016), Prioritized Experience Replay.
    """

    def __init__(self, spaces: Spaces, capacity: int, alpha: float = 0.6) -> None:
        self.replay, self.alpha = Replay(spaces, capacity), share("alpha", alpha)
        self.leaves = 1 << max(0, (capacity - 1).bit_length())
        self.sums = np.zeros(2 * self.leaves)
        self.largest = 1.0

    def __len__(self) -> int:
        return len(self.replay)

    def add(self, new: Transitions) -> Array:
        """Put transitions in place of the oldest, with the largest priority so far; return their rows (B,)."""
        rows = self.replay.add(new)
        self._set(rows, np.full(len(rows), self.largest**self.alpha))
        return rows

    def rows(self, rows: Array) -> Transitions:
        """Return the transitions of rows, shape (B,)."""
        return self.replay.rows(rows)

    def drawn(self, count: int, generator: torch.Generator) -> Array:
        """Return `count` rows (count,): one from each of as many equal parts of the sum of all priorities."""
        spread = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        left = (np.arange(count) + spread) / count * self.sums[1]
        nodes = np.ones(count, np.int64)
        while nodes[0] < self.leaves:
            nodes *= 2
            beyond = left >= self.sums[nodes]
            left = np.where(beyond, left - self.sums[nodes], left)
            nodes += beyond
        return np.minimum(nodes - self.leaves, len(self) - 1)

    def weights(self, rows: Array, beta: float) -> Array:
        """Return what each of some rows counts in the loss, shape (B,), at most 1."""
        chances = self.sums[self.leaves + rows] / self.sums[1]
        found = (len(self) * chances) ** -beta
        return np.asarray(found / found.max(), np.float32)

    def update(self, rows: Array, errors: Array) -> None:
        """Set the priorities of rows (B,) to the errors (B,) that were seen."""
        priorities = np.abs(errors).astype(np.float64) + SMALLEST
        self.largest = max(self.largest, float(priorities.max()))
        self._set(rows, priorities**self.alpha)

    def _set(self, rows: Array, values: Array) -> None:
        nodes = rows + self.leaves
        self.sums[nodes] = values
        while len(nodes) and nodes[0] > 1:
            nodes = np.unique(nodes // 2)
            self.sums[nodes] = self.sums[2 * nodes] + self.sums[2 * nodes + 1]

    def tensors(self) -> dict[str, Tensor]:
        """Return the buffer's state and the priorities, (capacity,) and a scalar."""
        own = {f"replay.{k}": v for k, v in self.replay.tensors().items()}
        own["priorities"] = torch.from_numpy(self.sums[self.leaves :].copy())
        return {**own, "largest": torch.tensor(self.largest, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to what `tensors` told, in its shapes."""
        self.replay.restore({k[7:]: v for k, v in tensors.items() if k.startswith("replay.")})
        self.largest = float(tensors["largest"])
        self._set(np.arange(self.leaves), tensors["priorities"].numpy())
