"""One bandit for each choice: agents that share the reward of what they chose together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from whet.core.space import Decision, Space
from whet.search.genes import Rows, Vector
from whet.search.modelled import Modelled

ATTEMPTS = 50


class Bandits(Modelled):
    """Each choice is an agent with one arm a value; each proposal is what the agents pull, each for itself.

    All are credited with the decision's reward, its Pareto rank among all so far from 0 to 1. An agent pulls arm v
    with probability proportional to `exp(rate * bound_v)`, where

        bound_v = mean reward of v + exploration * sqrt(log(pulls of all) / pulls of v),

    so that agents explore at different times. Sums over arms replace a search over their products, which is what
    makes it work on large spaces, and why it cannot see that two choices only help together.

    Paper: Carlucci et al. 2019, MANAS: Multi-Agent Neural Architecture Search (P682), whose agents are adversarial
    bandits on one weight-sharing network; here rewards are of measured candidates and scarce, so the arms have upper
    confidence bounds.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        warm_up: int = 12, exploration: float = 0.03, rate: float = 8.0,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        self.exploration, self.rate = exploration, rate

    def candidates(self) -> Iterator[Decision]:
        seen, generator = self.ledger.measured(), self.generator()
        rows, rewards = self.rows(seen), self.rewards(seen)
        chances = [self._chances(rows[:, i], rewards, int(n)) for i, n in enumerate(self.genes.lengths)]
        for _ in range(ATTEMPTS):
            row: Rows = np.array([generator.choice(len(p), p=p) for p in chances], dtype=np.int64)
            yield self.genes.decision(row)

    def _chances(self, arms: Rows, rewards: Vector, count: int) -> Vector:
        """Return the probability of each arm of one agent."""
        pulls = np.bincount(arms, minlength=count)
        mean = np.bincount(arms, weights=rewards, minlength=count) / np.maximum(pulls, 1)
        bound = np.where(pulls > 0, mean, 1.0) + self.exploration * np.sqrt(
            math.log(max(len(arms), 2)) / np.maximum(pulls, 1)
        )
        chance = np.exp(self.rate * (bound - bound.max()))
        shares: Vector = chance / chance.sum()
        return shares
