"""`Walk`: the choices of a space decided one after the other, and what an agent sees of each."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Decision
from whet.decisions.distance import distance
from whet.decisions.genes import Genes, Rows, Vector

Seen = NDArray[np.float32]
PLACE, SIZE, SPENT, LEFT, REST, BEFORE, SAVING, AFTER, DISTANCE, LEGAL = range(10)
"""The columns of what is seen, before those that tell the choices apart."""


class Walk:
    """What is seen before a choice is made: a row for each of its values.

    As in AMC there are features of the layer (its `PLACE`, and its `SIZE`: the most that it can save), what the
    choices before it saved (`SPENT`), what is `LEFT` to save of the budget, what the choices behind it could save
    (`REST`), and what the one before it did (`BEFORE`). A value has its `SAVING`, what is left `AFTER` it, its
    `DISTANCE` from what is untouched, and whether it is `LEGAL`: whether those behind it can still reach the budget.
    The most that a choice can save is always legal. Of the columns behind, the choice's own has the distance: layers
    are not alike, and their sensitivities cannot be read off their sizes.

    What a value saves is `log(operations of the untouched network / operations with that value alone)`, as a share of
    what all choices save together at most. A choice that operations say nothing of (bits, a runtime's precision), and
    where nobody counts them every choice, is taken to save as much as a mean one, by its distance.

    He et al. 2018, AMC: AutoML for Model Compression and Acceleration on Mobile Devices, whose agent decides each
    layer's sparsity in this way.
    """

    def __init__(self, genes: Genes, operations: Callable[[Decision], float] | None = None) -> None:
        self.genes, self.count = genes, len(genes.choices)
        self.values = int(genes.lengths.max(initial=1))
        self.distances = np.zeros((self.count, self.values))
        for i, choice in enumerate(genes.choices):
            self.distances[i, : len(choice.values)] = [distance(choice, value) for value in choice.values]
        self.savings = self._savings(operations)
        self.there = np.arange(self.values) < genes.lengths[:, None]
        self.most: Vector = self.savings.max(1, initial=0.0)
        self.rest: Vector = np.append(self.most[::-1].cumsum()[::-1], 0.0)

    @property
    def columns(self) -> int:
        """How many numbers are seen of a value."""
        return LEGAL + 1 + self.count

    def _savings(self, operations: Callable[[Decision], float] | None) -> NDArray[np.float64]:
        """Return what each value of each choice saves, (choices, values), all that can be saved being 1."""
        found = np.zeros((self.count, self.values))
        if operations is not None:
            untouched = max(operations(Decision()), 1.0)
            for i, choice in enumerate(self.genes.choices):
                left = [operations(self.genes.space.canonical(Decision({choice.name: v}))) for v in choice.values]
                found[i, : len(left)] = np.maximum(-np.log(np.maximum(np.array(left) / untouched, 1e-6)), 0.0)
        told = found.max(1, initial=0.0) > 0
        mean = float(found.max(1)[told].mean()) if told.any() else 1.0
        found[~told] = mean * self.distances[~told]
        return found / max(float(found.max(1, initial=0.0).sum()), 1e-12)

    def spent(self, rows: Rows) -> Vector:
        """Return what rows of value indices save, (rows,), from 0 to 1: the budgets that they would just have met."""
        each = self.savings[np.arange(self.count), rows] * self.genes.active(rows)
        return np.asarray(each.sum(1))

    def seen(self, rows: Rows, choice: int, budgets: Vector) -> Seen:
        """Return what is seen before a choice by those who decided the choices before it as `rows` did.

        Shapes: rows (N, choices), budgets (N,); the result is (N, values, columns).
        """
        before = self.savings[np.arange(choice), rows[:, :choice]] * self.genes.active(rows)[:, :choice]
        spent = before.sum(1)
        own, rest = self.savings[choice], self.rest[choice + 1]
        seen = np.zeros((len(rows), self.values, self.columns), np.float32)
        seen[..., PLACE] = choice / self.count
        seen[..., SIZE], seen[..., REST] = self.most[choice], rest
        seen[..., SPENT], seen[..., LEFT] = spent[:, None], (budgets - spent)[:, None]
        seen[..., BEFORE] = before[:, -1:] if choice else 0.0
        seen[..., SAVING], seen[..., DISTANCE] = own, self.distances[choice]
        seen[..., AFTER] = (budgets - spent)[:, None] - own
        reached = spent[:, None] + own + rest >= budgets[:, None] - 1e-9
        seen[..., LEGAL] = self.there[choice] & (reached | (own == self.most[choice]))
        seen[..., LEGAL + 1 + choice] = self.distances[choice]
        return seen

    def walked(self, choose: Callable[[Seen], Rows], budgets: Vector) -> Rows:
        """Return the rows, (N, choices), that come of choosing values (N,) by what is seen, (N, values, columns).

        A choice that is not active is not made: it stays as it is in the untouched network.
        """
        rows: Rows = np.tile(self.genes.identity, (len(budgets), 1))
        for choice in range(self.count):
            chosen = choose(self.seen(rows, choice, budgets))
            active = self.genes.active(rows)[:, choice]
            rows[:, choice] = np.where(active, chosen, self.genes.identity[choice])
        return rows

    def steps(self, row: Rows, budget: float) -> tuple[Seen, Rows, Seen]:
        """Return what was seen, (T, values, columns), what was chosen, (T,), and what followed, of one row's T choices.

        Behind the last choice nothing is seen: zeros.
        """
        active = np.flatnonzero(self.genes.active(row[None])[0])
        each = [self.seen(row[None], int(choice), np.array([budget]))[0] for choice in active]
        nothing = np.zeros((self.values, self.columns), np.float32)
        following = [after for _, after in pairwise([*each, nothing])]
        return np.stack(each), row[active], np.stack(following)
