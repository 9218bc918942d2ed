"""Monte Carlo tree search over the choices of a space, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Decision, Space
from whet.decisions.genes import Rows
from whet.search.modelled import Modelled

ATTEMPTS = 50


@dataclass
class Node:
    """What is known of the decisions that begin alike: how many were measured, and their rewards."""

    visits: int = 0
    reward: float = 0.0
    children: dict[int, Node] = field(default_factory=dict)


class TreeSearch(Modelled):
    """Walk down the tree of choices by upper confidence bounds; below what was visited, go on at random.

    At a node with n visits, the child v with n_v visits and mean reward r_v is taken that maximises

        r_v + exploration * sqrt(2 log n / n_v),

    unvisited children first (Kocsis and Szepesvari 2006, Bandit Based Monte-Carlo Planning). The reward is the Pareto
    rank among all measured, from 0 to 1. The tree's order is that of the space; a conditional choice is a level only
    below its parent's values that open it. `bisect` makes an ordered choice of n values a path of log n halvings, so
    that close values share what is learnt.

    Paper: Negrinho and Gordon 2017, DeepArchitect: tree-structured spaces, searched by random, MCTS, MCTS with
    bisection, and SMBO; here those are `random`, this one, and `alternating` or `bayesian`.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        warm_up: int = 1, exploration: float = 0.3, bisect: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        self.exploration, self.bisect = exploration, bisect

    def candidates(self) -> Iterator[Decision]:
        """Yield decisions from walks down the tree."""
        seen, generator = self.ledger.measured(), self.generator()
        rows, rewards = self.rows(seen), self.rewards(seen)
        root = Node()
        for row, active, reward in zip(rows, self.genes.active(rows), rewards, strict=True):
            self._grow(root, row, active, float(reward))
        for _ in range(ATTEMPTS):
            yield self.genes.decision(self._walk(root, generator))

    def _steps(self, choice: int, value: int) -> list[int]:
        """Return the branches that lead to a value of a choice."""
        count = int(self.genes.lengths[choice])
        if not self.bisect or count <= 2:
            return [value]
        steps, low, high = [], 0, count
        while high - low > 1:
            middle = (low + high) // 2
            steps.append(int(value >= middle))
            low, high = (middle, high) if value >= middle else (low, middle)
        return steps

    def _grow(self, node: Node, row: Rows, active: NDArray[np.bool_], reward: float) -> None:
        """Count a measured decision along its path; what is not active is no level of the tree."""
        node.visits, node.reward = node.visits + 1, node.reward + reward
        for choice in np.flatnonzero(active):
            for step in self._steps(int(choice), int(row[choice])):
                node = node.children.setdefault(step, Node())
                node.visits, node.reward = node.visits + 1, node.reward + reward

    def _walk(self, root: Node, generator: np.random.Generator) -> Rows:
        """Return the decision at the end of one walk; its path counts as visited without reward, to vary the next."""
        node: Node | None = root
        row = self.genes.identity.copy()
        for choice, count in enumerate(self.genes.lengths):
            if not self._open(row, choice):
                continue
            low, high = 0, int(count)
            while high - low > 1:
                halves = self.bisect and count > 2
                options = 2 if halves else high - low
                step = self._step(node, options, generator)
                if node is not None:
                    node = node.children.get(step)
                    if node is not None:
                        node.visits += 1
                if halves:
                    middle = (low + high) // 2
                    low, high = (middle, high) if step else (low, middle)
                else:
                    low, high = low + step, low + step + 1
            if node is not None and count == 1:
                node = node.children.get(0)
            row[choice] = low
        canonical: Rows = self.genes.canonical(row[None])[0]
        return canonical

    def _open(self, row: Rows, choice: int) -> bool:
        """Say whether a choice is active, by what a row has of those before it."""
        return self.genes.choices[choice].when is None or bool(self.genes.active(row[None])[0, choice])

    def _step(self, node: Node | None, options: int, generator: np.random.Generator) -> int:
        if node is None:
            return int(generator.integers(options))
        new = [v for v in range(options) if v not in node.children]
        if new:
            return int(generator.choice(new))

        def bound(v: int) -> float:
            child = node.children[v]
            spread = math.sqrt(2 * math.log(max(node.visits, 2)) / child.visits)
            return child.reward / child.visits + self.exploration * spread

        return max(range(options), key=bound)
