"""A deep Q-network that decides one layer after another under a budget."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from whet.core.checks import positive, share, whole
from whet.core.space import Decision, Space
from whet.decisions.genes import Rows, Vector
from whet.policies.exploration import Falling, epsilon_greedy
from whet.policies.networks import Single, body, seeded
from whet.policies.replay import Replay, Transitions
from whet.policies.spaces import Spaces
from whet.policies.targets import double
from whet.policies.values import Expected, of_actions
from whet.search.learned import Learned
from whet.search.walk import LEGAL, Seen, Walk

DRAWN = 16
"""How many walks, each under a budget of its own, are taken for a proposal: the first new decision is it."""
BEHIND = -1e9
"""What a value that is not legal counts as."""


@dataclass
class QLearner:
    """A network, its target and its optimizer, and how often it was updated."""

    network: nn.Module
    target: nn.Module
    optimizer: torch.optim.Optimizer
    updates: int = 0


class LayerwiseQ(Learned):
    r"""Q-learning over the choices of a space, one step a choice, from all that was measured.

    An agent walks through the choices in their order; what it sees of each is in `whet.search.walk.Walk`. For each
    value v of a choice one network tells the reward that a decision with it comes to,

        Q(s_t, v) <- max_v' Q(s_{t+1}, v'; target),   Q(s_n, v) <- standing,

    learned from batches of a replay buffer. The reward is that of the whole decision, when it is known: its standing
    among those measured before it, from 0 to 1. A walk has a budget, drawn uniformly from all that can be saved, and
    takes only what can still reach it; what was measured is learned from as a walk whose budget was what it saved. Of
    some walks, under a budget each, the one that is told to come to the most is proposed, but for any one with
    probability epsilon. Values are chosen epsilon-greedily, too, epsilon falling from 1 to `last_epsilon` over
    `explore_for` decisions. The next value is chosen by the network and valued by its target.

    It wants more measurements than a search of a network has: on the table of ResNet-20 it holds .81 of what there is
    after 80 (chance .80), on that of digits .72 (chance .70), medians of five seeds; `layerwise-policy` .87 and .79.

    Baker et al. 2017, Designing Neural Network Architectures using Reinforcement Learning (Q-learning of one layer
    after another, with a replay of all that was trained; its values are a table, here they are a deep Q-network); the
    state and the legal actions are those of He et al. 2018, AMC.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        warm_up: int = 8, explore_for: int = 40, last_epsilon: float = 0.1, updates: int = 8, batch: int = 64,
        target_every: int = 16, learning_rate: float = 3e-3, hidden: tuple[int, ...] = (32,), memory: int = 400,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        self.explore_for, self.updates = whole("explore_for", explore_for), whole("updates", updates)
        self.last_epsilon = share("last_epsilon", last_epsilon)
        self.batch, self.target_every = whole("batch", batch), whole("target_every", target_every)
        self.learning_rate, self.hidden = positive("learning_rate", learning_rate), hidden
        self.memory = whole("memory", memory)
        self._held: list[tuple[Decision, float]] = []

    @cached_property
    def walk(self) -> Walk:
        """The choices in their order."""
        return Walk(self.genes, self.operations)

    @cached_property
    def spaces(self) -> Spaces:
        """What is seen, and how many values there are to choose from."""
        return Spaces((self.walk.values, self.walk.columns), "float32", self.walk.values)

    @cached_property
    def _replay(self) -> Replay:
        return Replay(self.spaces, self.memory * max(self.walk.count, 1))

    def begin(self) -> QLearner:
        """Return an untrained network beside its target."""
        with seeded(self.ledger.seed):
            layers, features = body(self.spaces.shape, self.hidden, by_row=True)
            network = nn.Sequential(layers, Single(features, self.walk.values, 1, by_row=True))
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate)
        return QLearner(network, copy.deepcopy(network), optimizer)

    def lesson(self, learner: QLearner, index: int) -> None:
        """Put the entry's steps into the buffer, if it was measured, and learn from batches of it."""
        self._hold(index)
        if not len(self._replay):
            return
        generator = self.chance(index)
        for _ in range(self.updates):
            self.update(learner, self._replay.rows(self._replay.drawn(self.batch, generator)))

    def _hold(self, index: int) -> None:
        """Let the buffer hold the measured entries up to an index: what changed is put in anew."""
        earned, entries = self.earned(), list(self.ledger.entries)[: index + 1]
        wanted = [(decision, earned[decision]) for decision in entries if decision in earned]
        if self._held != wanted[: len(self._held)]:
            self._held, self._replay.added = [], 0
        for decision, reward in wanted[len(self._held) :]:
            self._replay.add(self.transitions(decision, reward))
        self._held = wanted

    def transitions(self, decision: Decision, reward: float, budget: float | None = None) -> Transitions:
        """Return the steps of a decision, by default under the budget that it met; the last alone earns."""
        row = self.genes.rows([decision])
        seen, chosen, following = self.walk.steps(row[0], float(self.walk.spent(row)[0]) if budget is None else budget)
        last = np.arange(len(chosen)) == len(chosen) - 1
        return Transitions(seen, chosen, np.where(last, reward, 0.0), following, np.where(last, 0.0, 1.0))

    def update(self, learner: QLearner, drawn: Transitions) -> None:
        """Take one step towards the targets of some transitions."""
        values, following = Expected(), torch.from_numpy(drawn.following)
        with torch.no_grad():
            told = double(self.told(learner.target, following), self.told(learner.network, following), _scores)
        chosen = of_actions(learner.network(torch.from_numpy(drawn.observations)), torch.from_numpy(drawn.actions))
        losses, _ = values.losses(chosen, told, torch.from_numpy(drawn.rewards), torch.from_numpy(drawn.discounts))
        learner.optimizer.zero_grad()
        losses.mean().backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        learner.updates += 1
        if learner.updates % self.target_every == 0:
            learner.target.load_state_dict(learner.network.state_dict())

    @staticmethod
    def told(network: nn.Module, seen: Tensor) -> Tensor:
        """Return what a network tells of the legal values of what is seen (B, values, columns): (B, values, 1)."""
        told: Tensor = network(seen).masked_fill(seen[..., LEGAL : LEGAL + 1] == 0, BEHIND)
        return told

    def drawn(self, learner: QLearner, index: int) -> Rows:
        """Return the rows of some walks, (walks, choices), each with a budget of its own."""
        generator = self.chance(index)
        epsilon = Falling(1.0, self.last_epsilon, 1.0).at(index / self.explore_for)
        budgets = torch.rand(DRAWN, generator=generator).numpy()

        def choose(seen: Seen) -> Rows:
            given = torch.from_numpy(seen)
            with torch.no_grad():
                scores = _scores(learner.network(given))
            return epsilon_greedy(scores, epsilon, generator, given[..., LEGAL] > 0)

        rows = self.walk.walked(choose, budgets)
        if float(torch.rand(1, generator=generator)) < epsilon:
            return rows
        return rows[np.argsort(-self.worth(learner, rows), kind="stable")]

    def worth(self, learner: QLearner, rows: Rows) -> Vector:
        """Return what the network tells that rows of value indices come to, (N,): the value of their last choices."""
        budgets, found = self.walk.spent(rows), np.zeros(len(rows))
        for choice, active in enumerate(self.genes.active(rows).T):
            given = torch.from_numpy(self.walk.seen(rows[active], choice, budgets[active]))
            with torch.no_grad():
                found[active] = of_actions(learner.network(given), torch.from_numpy(rows[active, choice]))[:, 0].numpy()
        return found


def _scores(told: Tensor) -> Tensor:
    return told.squeeze(2)
