"""How actions are chosen from scores, and how much chance there is in it as a training goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whet.core.checks import share
from whet.policies.spaces import Array


@dataclass(frozen=True)
class Falling:
    """A number that falls in a line from `first` to `last` over a share of a training, and stays there.

    >>> [Falling(1.0, 0.5, 0.5).at(done) for done in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.75, 0.5, 0.5]
    """

    first: float
    last: float
    over: float

    def __post_init__(self) -> None:
        share("explore_for", self.over)

    def at(self, done: float) -> float:
        """Return the number when a share `done` of the training is over."""
        passed = min(1.0, done / self.over) if self.over > 0 else 1.0
        return self.first + passed * (self.last - self.first)


def greedy(scores: Tensor) -> Array:
    """Return the best action of each row of scores (N, actions), shape (N,)."""
    return scores.argmax(1).numpy()


def epsilon_greedy(scores: Tensor, epsilon: float, generator: torch.Generator, legal: Tensor | None = None) -> Array:
    """Return the best action of each row of scores (N, actions), or any one with probability `epsilon`; shape (N,).

    Where only some actions are `legal`, (N, actions), none but those are taken.
    """
    rows, actions = scores.shape
    chance = torch.rand(rows, generator=generator) < epsilon
    if legal is None:
        anyone = torch.randint(actions, (rows,), generator=generator)
    else:
        scores = scores.masked_fill(~legal, -torch.inf)
        anyone = torch.from_numpy(sampled(torch.zeros(rows, actions).masked_fill(~legal, -torch.inf), generator))
    return torch.where(chance, anyone, scores.argmax(1)).numpy()


def sampled(logits: Tensor, generator: torch.Generator) -> Array:
    """Return an action of each row of logits (N, actions), drawn by their softmax; shape (N,).

    By the largest of logits with Gumbel noise, which is a draw by the softmax.
    """
    noise = torch.rand(logits.shape, generator=generator).clamp_min_(1e-20)
    return np.asarray((logits - torch.log(-torch.log(noise))).argmax(1).numpy())
