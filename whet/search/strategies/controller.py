"""A recurrent controller that writes a decision value by value, trained by REINFORCE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from whet.core.checks import positive, whole
from whet.core.space import Decision, Space
from whet.decisions.genes import Genes, Rows
from whet.policies.exploration import sampled
from whet.search.policy_gradient import Draws, PolicySearch

RANGE = 0.08
"""Weights begin uniform between minus this and this, as in the paper."""
State = tuple[Tensor, Tensor]


class RecurrentPolicy(nn.Module):
    r"""An LSTM that tells the probabilities of each choice's values from the values of those before it.

    :math:`p(d) = \prod_t p(d_t | d_1, \dots, d_{t-1})`: step t reads an embedding of the value of choice t - 1 (a start
    at first), and a softmax of its own for each choice tells the values of choice t. A choice that is not active under
    those before it is no draw: it stands at its identity, and its factor is 1.
    """

    def __init__(self, genes: Genes, hidden: int, layers: int) -> None:
        super().__init__()
        self.genes, self.count = genes, len(genes.choices)
        values = int(genes.lengths.max(initial=1))
        self.first = torch.from_numpy(np.concatenate([[0], genes.lengths.cumsum()[:-1]]) + 1)
        self.closed = torch.from_numpy(np.arange(values) >= genes.lengths[:, None])
        self.embedding = nn.Embedding(1 + int(genes.lengths.sum()), hidden)
        self.cells = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.heads = nn.Parameter(torch.empty(self.count, hidden, values))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -RANGE, RANGE)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the log-probabilities (N, choices, values) of each choice's values, by rows of value indices."""
        tokens = torch.cat([torch.zeros(len(rows), 1, dtype=torch.int64), rows[:, :-1] + self.first[:-1]], 1)
        found, _ = self.cells(self.embedding(tokens))
        return self._told(torch.einsum("nth,thv->ntv", found, self.heads), self.closed)

    @staticmethod
    def _told(scores: Tensor, closed: Tensor) -> Tensor:
        told: Tensor = scores.masked_fill(closed, -torch.inf).log_softmax(-1)
        return told

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Return draws, one value after the other."""
        rows: Rows = np.tile(self.genes.identity, (count, 1))
        token, state = torch.zeros(count, dtype=torch.int64), None
        for choice in range(self.count):
            found, state = self.cells(self.embedding(token)[:, None], state)
            told = self._told(found[:, 0] @ self.heads[choice], self.closed[choice])
            drawn = sampled(told, generator)
            rows[:, choice] = np.where(self.genes.active(rows)[:, choice], drawn, self.genes.identity[choice])
            token = torch.from_numpy(rows[:, choice]) + self.first[choice]
        return Draws(rows, np.zeros(count))

    def log_chance(self, draws: Draws) -> Tensor:
        """Return the log of the probability of each draw, (N,)."""
        rows = torch.from_numpy(draws.rows)
        own: Tensor = self(rows)
        chosen = own.gather(2, rows[:, :, None])[:, :, 0]
        return chosen.masked_fill(~torch.from_numpy(self.genes.active(draws.rows)), 0.0).sum(1)


class Controller(PolicySearch):
    """Neural architecture search by a recurrent controller: it writes decisions, and is trained by what they earn.

    The controller is `RecurrentPolicy`, an LSTM of two layers of 35 units as in the paper, and is trained by REINFORCE
    with a moving average of the rewards as the baseline (`whet.search.policy_gradient`). The reward is a decision's
    standing among those measured before it, to the power of `power`: the paper takes the cube of the validation
    accuracy, which tells the best apart.

    The paper's controller writes layers, with skip connections by attention, and trained 12,800 networks at a rate of
    0.0006; here the choices of the space are written, and the rate is one for tens of measurements.

    Zoph and Le 2017, Neural Architecture Search with Reinforcement Learning.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        hidden: int = 35, layers: int = 2, power: float = 3.0, learning_rate: float = 0.01, draws: int = 16,
        decay: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, learning_rate=learning_rate, draws=draws, decay=decay)
        self.hidden, self.layers, self.power = (
            whole("hidden", hidden),
            whole("layers", layers),
            positive("power", power),
        )

    def policy(self) -> RecurrentPolicy:
        """Return an untrained controller."""
        return RecurrentPolicy(self.genes, self.hidden, self.layers)

    def earned(self) -> dict[Decision, float]:
        """Return the reward of each measured decision, from 0 to 1."""
        return {decision: standing**self.power for decision, standing in super().earned().items()}
