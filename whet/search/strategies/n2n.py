"""Layers are removed, then what is left is shrunk: two recurrent policies, which another network may have taught."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.core.checks import whole
from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space
from whet.decisions.genes import Genes, Rows
from whet.policies.exploration import sampled
from whet.policies.networks import seeded
from whet.search.former import former
from whet.search.policy_gradient import Climber, Draws, PolicySearch
from whet.search.walk import Walk

LAYER, VALUE = 6, 3
"""How many numbers describe a layer, and a value of a choice: the same for all networks."""
BY_CHANCE = 64
"""How many draws by chance stand behind those of the policy."""
BROKEN = -1.0
"""The reward of what breaks a limit."""


class LayerPolicy(nn.Module):
    r"""A recurrent policy over some choices that reads layers, whatever network they are of.

    The network reads a description of each choice's layer, x_t: its place, its share of what can be saved, how many
    values there are, and what kind the choice is. A value's score is linear in three numbers of its own, with weights
    that the network tells of the layer. `both_ways` (removal) it reads the layers from both ends, and values are drawn
    apart; else (shrinkage) step t reads how far the value drawn at t - 1 went beside x_t. All other choices stand as in
    `base`.
    """

    def __init__(self, genes: Genes, walk: Walk, places: Sequence[int], hidden: int, both_ways: bool) -> None:
        super().__init__()
        self.genes, self.places, self.both_ways = genes, list(places), both_ways
        self.layers, self.values = (torch.from_numpy(part[self.places]).float() for part in described(walk))
        self.distances = torch.from_numpy(walk.distances[self.places]).float()
        self.closed = torch.from_numpy(~walk.there[self.places])
        self.base: Rows = genes.identity.copy()
        self.cells = nn.LSTM(LAYER + (not both_ways), hidden, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(hidden * (2 if both_ways else 1), VALUE)

    def _told(self, found: Tensor, step: int | slice) -> Tensor:
        scores = (self.head(found)[..., None, :] * self.values[step]).sum(-1)
        told: Tensor = scores.masked_fill(self.closed[step], -torch.inf).log_softmax(-1)
        return told

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Return draws of the own choices over what stands in `base`."""
        rows: Rows = np.tile(self.base, (count, 1))
        went, state, told = torch.zeros(count, 1), None, self._apart(count) if self.both_ways else None
        for step, choice in enumerate(self.places):
            if told is None:
                given = torch.cat([self.layers[step].expand(count, LAYER), went], 1)
                found, state = self.cells(given[:, None], state)
                own = self._told(found[:, 0], step)
            else:
                own = told[:, step]
            drawn = np.where(self.genes.active(rows)[:, choice], sampled(own, generator), self.genes.identity[choice])
            rows[:, choice] = drawn
            went = self.distances[step, torch.from_numpy(drawn)][:, None]
        return Draws(self.genes.canonical(rows), np.zeros(count))

    def _apart(self, count: int) -> Tensor:
        found, _ = self.cells(self.layers[None])
        return self._told(found, slice(None)).expand(count, -1, -1)

    def log_chance(self, draws: Draws) -> Tensor:
        """Return the log of the probability of each draw, (N,): of the own choices, as far as they are active."""
        own = torch.from_numpy(draws.rows[:, self.places])
        if self.both_ways:
            told = self._apart(len(draws))
        else:
            went = self.distances[torch.arange(len(self.places)), own]
            before = torch.cat([torch.zeros(len(draws), 1), went[:, :-1]], 1)
            found, _ = self.cells(torch.cat([self.layers.expand(len(draws), -1, -1), before[..., None]], 2))
            told = self._told(found, slice(None))
        active = torch.from_numpy(self.genes.active(draws.rows)[:, self.places])
        return told.gather(2, own[..., None])[..., 0].masked_fill(~active, 0.0).sum(1)


def described(walk: Walk) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is told of each choice's layer, (choices, 6), and of each value, (choices, values, 3)."""
    choices = walk.genes.choices
    place = np.arange(walk.count) / max(walk.count - 1, 1)
    kinds = [[removes(c), c.kind == "width", "bits" in c.kind] for c in choices]
    size, most = walk.most * walk.count, np.maximum(walk.most, 1e-12)[:, None]
    layers = np.column_stack([place, size, np.log(walk.genes.lengths), np.array(kinds, float).reshape(-1, 3)])
    values = np.stack([walk.distances, walk.distances**2, walk.savings / most], axis=2)
    return layers, values


def removes(choice: Choice) -> bool:
    """Say whether a choice removes a layer: whether it stays or goes is all that it decides."""
    return set(choice.values) == {True, False} and all(isinstance(value, bool) for value in choice.values)


@dataclass
class Pair:
    """The policy of each stage, with its optimizer and baseline."""

    removal: Climber
    shrinkage: Climber


class N2N(PolicySearch):
    r"""Network to network compression: one policy removes layers, then another shrinks what remains.

    The first `removals` decisions come of a policy over the choices that remove a layer alone. What earned the most of
    them is the network of the second stage, in which another policy draws all other choices. Both climb, by REINFORCE
    with a moving average as the baseline (`whet.search.policy_gradient`), the reward

    .. math:: R = R_c R_a,  R_c = C (2 - C),  R_a = 1 - \text{drop},

    C the share that is saved, here of the latency, `1 - 1 / speed-up`, and -1 where a limit is broken. Doubling a small
    compression is worth more than the same step near 1, so accuracy is not sold for the last percent.

    Policies read descriptions of layers, so one that was trained on a small network goes on with a larger one: with
    `teacher`, the folder of a search of another network, both policies first learn from all that was measured there.

    Ashok, Rhinehart, Beainy and Kitani 2018, N2N Learning: Network to Network Compression via Policy Gradient
    Reinforcement Learning. Its description of a layer has kernel, stride and padding, which a space of choices does not
    tell; its C is of parameters.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        removals: int = 20, teacher: str = "", hidden: int = 30, learning_rate: float = 0.02, draws: int = 16,
        decay: float = 0.9,
    ) -> None:  # fmt: skip
        if tuple(directions) != ("maximize", "minimize"):
            raise DecisionError(f"strategy 'n2n' works on (maximize speed-up, minimize drop); got {directions!r}.")
        super().__init__(space, seed, directions, learning_rate=learning_rate, draws=draws, decay=decay)
        self.hidden, self.former = whole("hidden", hidden), former(Path(teacher)) if teacher else None
        self.removing = [i for i, choice in enumerate(self.genes.choices) if removes(choice)]
        self.shrinking = [i for i in range(len(self.genes.choices)) if i not in set(self.removing)]
        ways = math.prod(int(self.genes.lengths[i]) for i in self.removing) if self.removing else 0
        self.removals = min(whole("removals", removals), ways) if self.shrinking else 10**9
        """How many decisions the first stage has: no more than there are ways to remove layers."""

    @cached_property
    def walk(self) -> Walk:
        """What choices save."""
        return Walk(self.genes, self.operations)

    def begin(self) -> Pair:
        """Return both policies: those that the teacher's search taught, or untrained ones."""
        with seeded(self.ledger.seed):
            pair = Pair(self._climber(self.removing, True), self._climber(self.shrinking, False))
        if self.former is not None:
            space, seen = self.former
            options = {k: v for k, v in self.made_with.items() if k != "teacher"}
            other = N2N(space, **options)
            other.tell(seen)
            taught = other.taught()
            pair.removal.policy.load_state_dict(taught.removal.policy.state_dict())
            pair.shrinkage.policy.load_state_dict(taught.shrinkage.policy.state_dict())
        return pair

    def _climber(self, places: Sequence[int], both_ways: bool) -> Climber:
        policy = LayerPolicy(self.genes, self.walk, places, self.hidden, both_ways)
        return Climber(policy, torch.optim.Adam(policy.parameters(), self.learning_rate))

    def drawn(self, learner: Pair, index: int) -> Rows:
        """Return the rows that the policy of the stage draws for a proposal, and behind them some drawn by chance.

        Those differ in the stage's choices, too: where all that the policy draws is known, the stage goes on.
        """
        climber = self._stage(learner, index)
        others = np.tile(layers_of(climber).base, (BY_CHANCE, 1))
        own = self.removing if index < self.removals else self.shrinking
        others[:, own] = self.genes.random(BY_CHANCE, self.generator())[:, own]
        return np.concatenate([self.draws_of(climber, index).rows, self.genes.canonical(others)])

    def lesson(self, learner: Pair, index: int) -> None:
        """Take one step of the stage's policy: up what is known of draws of its own choices."""
        climber = self._stage(learner, index)
        base = layers_of(climber).base
        entries, earned = list(self.ledger.entries)[: index + 1], self.earned()
        others = self.shrinking if index < self.removals else self.removing
        rows = self.genes.rows(entries)
        alike = (rows[:, others] == base[others]).all(1)
        known = {d: earned[d] for d, own in zip(entries, alike, strict=True) if own and d in earned}
        self.learn(climber, self.draws_of(climber, index), entries[index], known)

    def _stage(self, learner: Pair, index: int) -> Climber:
        """Return the policy of an entry's stage; the second's works on what earned the most in the first."""
        if index < self.removals:
            return learner.removal
        layers_of(learner.shrinkage).base = self.best()
        return learner.shrinkage

    def best(self) -> Rows:
        """Return the row that has the removals of the first stage that earned the most, and is else untouched."""
        earned = self.earned()
        first = [d for d in list(self.ledger.entries)[: self.removals] if d in earned]
        row: Rows = self.genes.identity.copy()
        if first and self.removing:
            row[self.removing] = self.genes.rows([max(first, key=earned.__getitem__)])[0, self.removing]
        return row

    def earned(self) -> dict[Decision, float]:
        """Return the reward of each measured decision."""
        return {o.decision: reward(*o.values) if o.feasible else BROKEN for o in self.ledger.measured()}


def layers_of(climber: Climber) -> LayerPolicy:
    """Return the policy of a climber as what it is here."""
    assert isinstance(climber.policy, LayerPolicy)
    return climber.policy


def reward(speedup: float, drop: float) -> float:
    """Return what a network earns that keeps all limits.

    >>> reward(2.0, 0.1), reward(1.0, 0.0)
    (0.675, 0.0)
    """
    saved = 1.0 - 1.0 / speedup
    return saved * (2.0 - saved) * (1.0 - drop)
