"""A policy that decides one layer after another under a budget, by the policy gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from whet.core.space import Space
from whet.decisions.genes import Rows, Vector
from whet.policies.exploration import sampled
from whet.policies.likelihood import log_chance
from whet.policies.networks import Single, body
from whet.search.policy_gradient import Draws, PolicySearch
from whet.search.walk import LEGAL, Seen, Walk

LEVELS = 8
"""How many budgets there are, from nothing to seven eighths of all that can be saved."""


class WalkingPolicy(nn.Module):
    r"""Probabilities of a choice's values by what is seen of each: a score a row, and their softmax over the legal.

    :math:`\pi(v | s_t, b) = \exp f(s_t, v) / \sum_{v'} \exp f(s_t, v')`, and a walk's probability is the product over
    its choices, times that of its budget b, one of `LEVELS` by a softmax of its own. The budget is part of what is
    seen.
    """

    def __init__(self, walk: Walk, hidden: Sequence[int]) -> None:
        super().__init__()
        self.walk = walk
        layers, features = body((walk.values, walk.columns), hidden, activation=nn.Tanh, by_row=True)
        self.network = nn.Sequential(layers, Single(features, walk.values, 1, by_row=True))
        self.budgets = nn.Parameter(torch.zeros(LEVELS))

    def forward(self, seen: Tensor) -> Tensor:
        """Return logits (N, values) of what is seen (N, values, columns)."""
        logits: Tensor = self.network(seen).squeeze(2)
        return logits.masked_fill(seen[..., LEGAL] == 0, -torch.inf)

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Return walks, each under a budget that is drawn before it."""
        budgets: Vector = sampled(self.budgets.expand(count, -1), generator) / LEVELS

        def choose(seen: Seen) -> Rows:
            return sampled(self(torch.from_numpy(seen)), generator)

        return Draws(self.walk.walked(choose, budgets), budgets)

    def log_chance(self, draws: Draws) -> Tensor:
        """Return the log of the probability of each walk, (N,): the sum over the choices that it made."""
        active = torch.from_numpy(self.walk.genes.active(draws.rows))
        levels = torch.from_numpy(np.rint(draws.goals * LEVELS).astype(np.int64))
        total = self.budgets.log_softmax(0)[levels]
        for choice in range(self.walk.count):
            made = active[:, choice]
            seen = torch.from_numpy(self.walk.seen(draws.rows[made.numpy()], choice, draws.goals[made.numpy()]))
            own = log_chance(self(seen), torch.from_numpy(draws.rows[made.numpy(), choice]))
            total = total.masked_scatter(made, total[made] + own)
        return total


class LayerwisePolicy(PolicySearch):
    """The policy gradient over the choices of a space, one step a choice, under a budget.

    An agent walks through the choices in their order; what it sees of each is in `whet.search.walk.Walk`: features of
    the layer, what was saved so far, what is left of the budget and what the choices behind can still save. A walk
    takes only what can still reach its budget, which is drawn first and learned like all else. The reward of a walk is
    its decision's standing among those measured before it, and how the policy climbs it is in
    `whet.search.policy_gradient`. What others proposed counts as a walk under the largest budget that it met.

    He et al. 2018, AMC: AutoML for Model Compression and Acceleration on Mobile Devices, has the state and the legal
    actions; its actions are continuous and its learner is DDPG, here values are those of the space and the learner is
    REINFORCE (Williams 1992).
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        hidden: tuple[int, ...] = (32,), learning_rate: float = 0.01, draws: int = 16, decay: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, learning_rate=learning_rate, draws=draws, decay=decay)
        self.hidden = hidden

    @cached_property
    def walk(self) -> Walk:
        """The choices in their order."""
        return Walk(self.genes, self.operations)

    def policy(self) -> WalkingPolicy:
        """Return an untrained policy."""
        return WalkingPolicy(self.walk, self.hidden)

    def constants(self) -> tuple[object, ...]:
        """Return the genes and the walk."""
        return self.genes, self.walk

    def goals(self, rows: Rows) -> Vector:
        """Return the largest budgets, (N,), that rows met."""
        return np.minimum(np.floor(self.walk.spent(rows) * LEVELS + 1e-9), LEVELS - 1) / LEVELS
