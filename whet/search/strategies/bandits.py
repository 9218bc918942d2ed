"""One adversarial bandit for each choice: agents that share the reward of what they chose together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Decision, Space
from whet.decisions.genes import Rows, Vector
from whet.decisions.pareto import standing
from whet.search.modelled import Modelled

ATTEMPTS = 50


class Agents:
    """An agent a choice with an arm a value; each pulls for itself, all are credited with what they earn together.

    After t plays an agent of K arms pulls arm v with a probability p_v by exponential weights on estimated losses,

        p_v ~ exp(-rate * sum_s loss_s [v pulled in s] / (p_sv + rate / 2)),   rate = sqrt(log K / (K t)),

    EXP3-IX (Neu 2015, Explore No More), whose regret against its best arm is with probability 1 - d at most
    `4 sqrt(K t log K) + (2 sqrt(K t / log K) + 1) log(2 / d)`, whatever the others do: a round's share of it goes to 0.
    Where rewards are sums over choices, the regret of all together is the sum of theirs.

    >>> agents = Agents(np.array([2]))
    >>> for _ in range(200):
    ...     agents.credit(row := agents.pull(np.random.default_rng(int(agents.plays[0]))), float(row[0]))
    >>> bool(agents.chances()[0, 1] > 0.9)
    True
    """

    def __init__(self, lengths: Rows) -> None:
        self.lengths = lengths
        self.plays = np.zeros(len(lengths))
        self.losses = np.zeros((len(lengths), int(lengths.max(initial=1))))
        self._closed = np.arange(self.losses.shape[1]) >= lengths[:, None]

    def rates(self) -> Vector:
        """Return each agent's learning rate for its next play."""
        found: Vector = np.sqrt(np.log(np.maximum(self.lengths, 2)) / (self.lengths * (self.plays + 1)))
        return found

    def chances(self) -> Vector:
        """Return the probability of each arm of each agent, shape (agents, arms)."""
        scores = np.where(self._closed, -np.inf, -self.rates()[:, None] * self.losses)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        shares: Vector = weights / weights.sum(1, keepdims=True)
        return shares

    def pull(self, generator: np.random.Generator) -> Rows:
        """Return the arm that each agent pulls."""
        reached = self.chances().cumsum(1) <= generator.random((len(self.lengths), 1))
        pulled: Rows = np.minimum(reached.sum(1), self.lengths - 1)
        return pulled

    def credit(self, row: Rows, reward: float, active: NDArray[np.bool_] | None = None) -> None:
        """Learn that the arms of a row earned `reward`, from 0 to 1; agents that are not active had no part in it."""
        took_part = np.ones(len(row), dtype=bool) if active is None else active
        agents = np.flatnonzero(took_part)
        chance = self.chances()[agents, row[agents]]
        self.losses[agents, row[agents]] += (1 - reward) / (chance + self.rates()[agents] / 2)
        self.plays[agents] += 1


class Bandits(Modelled):
    """Proposes what the agents pull (`Agents`), each for itself; the reward is the decision's standing.

    A decision's reward is its `standing` among those measured before it, from 0 to 1. A pull that was measured already
    costs nothing: the agents are credited with its reward once more and pull again, until the decision is new. Sums
    over arms replace a search over their products, which works on spaces of any size, and cannot see that two choices
    only help together. The bound is one of hundreds of plays: after tens, agents prefer their better arms a little.

    Paper: Carlucci et al. 2019, MANAS: Multi-Agent Neural Architecture Search, whose agents play on one
    weight-sharing network, with losses estimated by least squares in one of its two variants.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *, warm_up: int = 2
    ) -> None:
        super().__init__(space, seed, directions, warm_up)

    def candidates(self) -> Iterator[Decision]:
        """Yield what the agents pull next, after all pulls so far were replayed with their rewards."""
        rewards = self._standings()
        agents, generator = Agents(self.genes.lengths), np.random.default_rng
        known: dict[Decision, float | None] = {}
        for index, decision in enumerate(self.ledger.entries):
            for pulled in self._pulls(agents, generator((self.ledger.seed, index)), known):
                if pulled not in known:
                    break
            known[decision] = rewards.get(decision)
            self._credit(agents, decision, known[decision])
        yield from self._pulls(agents, self.generator(), known)

    def _pulls(
        self, agents: Agents, generator: np.random.Generator, known: Mapping[Decision, float | None]
    ) -> Iterator[Decision]:
        """Yield what the agents pull, up to `ATTEMPTS` times, crediting them with what is known already."""
        for _ in range(ATTEMPTS):
            decision = self.genes.decision(agents.pull(generator))
            yield decision
            self._credit(agents, decision, known.get(decision))

    def _credit(self, agents: Agents, decision: Decision, reward: float | None) -> None:
        """Credit the agents whose choices a decision has; nothing is learnt from what failed or is being measured."""
        if reward is not None:
            row = self.genes.rows([decision])
            agents.credit(row[0], reward, self.genes.active(row)[0])

    def _standings(self) -> dict[Decision, float]:
        """Return the reward of each measured decision."""
        seen = self.ledger.measured()
        rewards = standing(self.objectives(seen), self.violations(seen))
        return dict(zip((o.decision for o in seen), rewards.tolist(), strict=True))
