"""`PolicySearch`: what strategies share that draw decisions from a policy and climb what its draws earn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from whet.core.checks import positive, share, whole
from whet.core.space import Decision, Space
from whet.decisions.genes import Rows, Vector
from whet.policies.networks import seeded
from whet.search.learned import Learned


@dataclass(frozen=True)
class Draws:
    """Rows of value indices, (N, choices), and the goal that each was drawn under, (N,); zeros where there are none."""

    rows: Rows
    goals: Vector

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, places: Sequence[int]) -> Draws:
        """Return the draws at some places."""
        return Draws(self.rows[list(places)], self.goals[list(places)])


class Policy(Protocol):
    """A network that draws decisions and tells how likely they were."""

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Return so many draws."""
        ...

    def log_chance(self, draws: Draws) -> Tensor:
        """Return the log of the probability of each draw under its goal, shape (N,)."""
        ...


@dataclass
class Climber:
    """A policy with its optimizer, the baseline so far, and what it drew for a proposal, by the proposal's index."""

    policy: nn.Module
    optimizer: torch.optim.Optimizer
    baseline: float | None = None
    drew: dict[int, Draws] = field(default_factory=dict)


class PolicySearch(Learned):
    r"""REINFORCE with a moving average as the baseline, over decisions whose reward is known.

    Before each proposal the policy draws `draws` decisions, and the first new one is proposed. When the proposal has
    been measured, the draws with known rewards, it and all that were measured before, are one batch of the step

        theta <- theta + rate * mean_k grad log p(decision_k; theta) (R_k - b),
        b <- decay b + (1 - decay) mean_k R_k,

    by Adam. A draw of what was measured already costs nothing and teaches once more; one whose reward is not known
    counts as the baseline. What others proposed is learned from as if it had been drawn.

    Williams 1992, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        learning_rate: float = 0.01, draws: int = 16, decay: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up=0)
        self.learning_rate, self.decay = positive("learning_rate", learning_rate), share("decay", decay)
        self.draws = whole("draws", draws)

    def policy(self) -> nn.Module:
        """Return an untrained policy, a `Policy`; torch's seed is the strategy's."""
        raise NotImplementedError

    def goals(self, rows: Rows) -> Vector:
        """Return the goals, (N,), under which rows that the policy did not draw count as drawn."""
        return np.zeros(len(rows))

    def begin(self) -> Any:
        """Return an untrained policy that has no baseline yet."""
        with seeded(self.ledger.seed):
            policy = self.policy()
        return Climber(policy, torch.optim.Adam(policy.parameters(), self.learning_rate))

    def drawn(self, learner: Any, index: int) -> Rows:
        """Return the rows that the policy draws for a proposal."""
        return self.draws_of(learner, index).rows

    def draws_of(self, learner: Climber, index: int) -> Draws:
        """Return what the policy draws for the proposal of an index: always the same."""
        if index not in learner.drew:
            policy: Policy = learner.policy  # type: ignore[assignment]
            with torch.no_grad():
                learner.drew = {index: policy.draw(self.draws, self.chance(index))}
        return learner.drew[index]

    def lesson(self, learner: Any, index: int) -> None:
        """Take one step up what those draws earned that are known by now."""
        entries = list(self.ledger.entries)[: index + 1]
        earned, there = self.earned(), set(entries)
        draws = self.draws_of(learner, index)
        self.learn(learner, draws, entries[index], {d: r for d, r in earned.items() if d in there})

    def learn(self, learner: Climber, draws: Draws, proposed: Decision, known: Mapping[Decision, float]) -> None:
        """Take one step: by the draws whose reward is known, and by what was proposed if it is and was not drawn."""
        decisions = [self.genes.decision(row) for row in draws.rows]
        batch = draws.of([i for i, d in enumerate(decisions) if d in known])
        rewards = [known[d] for d in decisions if d in known]
        if proposed in known and proposed not in decisions:
            row = self.genes.rows([proposed])
            batch = Draws(np.concatenate([batch.rows, row]), np.concatenate([batch.goals, self.goals(row)]))
            rewards.append(known[proposed])
        if not rewards:
            return
        mean = float(np.mean(rewards))
        before = mean if learner.baseline is None else learner.baseline
        learner.optimizer.zero_grad()
        self.loss(learner, batch, torch.tensor(rewards), before).backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        learner.baseline = self.decay * before + (1 - self.decay) * mean

    @staticmethod
    def loss(learner: Climber, batch: Draws, rewards: Tensor, baseline: float) -> Tensor:
        """Return what is descended, a scalar, of draws and their rewards, (N,)."""
        policy: Policy = learner.policy  # type: ignore[assignment]
        found: Tensor = -(policy.log_chance(batch) * (rewards - baseline)).mean()
        return found
