"""`Genes`: decisions of a space as rows of value indices, so that populations are handled as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from whet.core.space import Choice, Decision, Space, Value

Rows = NDArray[np.int64]
Features = NDArray[np.float64]
Vector = NDArray[np.float64]


class Genes:
    """Translates between decisions and rows of indices into each choice's values, and gives features of rows.

    A row is canonical when inactive choices stand at their identity. Features are one column for each ordered choice
    (0 to 1 over its values) and one for each value of the others, then, where `operations` are known, half the
    logarithm of the share that a row leaves of the untouched network's.

    >>> genes = Genes(Space([Choice("a:bits", (4, 8), 8), Choice("b:keep", (True, False), True)]))
    >>> genes.rows([Decision({"a:bits": 4})]).tolist(), genes.decision(np.array([1, 1]))
    ([[0, 0]], Decision({'b:keep': False}))
    """

    def __init__(self, space: Space, operations: Callable[[Decision], float] | None = None) -> None:
        self.space, self.operations = space, operations
        self._shares: dict[tuple[int, ...], float] = {}
        self.choices = list(space)
        self.lengths = np.array([len(c.values) for c in self.choices], dtype=np.int64)
        self.identity = np.array([c.values.index(c.identity) for c in self.choices], dtype=np.int64)
        position = {c.name: i for i, c in enumerate(self.choices)}
        self._conditions = [
            (i, position[c.when[0]], [self.choices[position[c.when[0]]].values.index(v) for v in c.when[1]])
            for i, c in enumerate(self.choices)
            if c.when is not None
        ]
        self.tables = [_columns(c) for c in self.choices]

    def rows(self, decisions: Sequence[Decision]) -> Rows:
        """Return one canonical row a decision."""
        found = [[c.values.index(d.of(c)) for c in self.choices] for d in decisions]
        return self.canonical(np.array(found, dtype=np.int64).reshape(len(decisions), len(self.choices)))

    def decision(self, row: Rows) -> Decision:
        """Return the canonical decision of a row."""
        values: dict[str, Value] = {c.name: c.values[int(i)] for c, i in zip(self.choices, row, strict=True)}
        return self.space.canonical(Decision(values))

    def canonical(self, rows: Rows) -> Rows:
        """Return rows with inactive choices at their identity; parents are declared before what depends on them."""
        rows = rows.copy()
        active = self.active(rows)
        for child, _, _ in self._conditions:
            rows[~active[:, child], child] = self.identity[child]
        return rows

    def active(self, rows: Rows) -> NDArray[np.bool_]:
        """Say of each gene of each row whether it counts: whether its parent counts, and has a value that opens it."""
        active = np.ones(rows.shape, dtype=bool)
        for child, parent, values in self._conditions:
            active[:, child] = active[:, parent] & np.isin(rows[:, parent], values)
        return active

    def values(self, rows: Rows) -> Features:
        """Return the columns of the choices, one row each."""
        if not self.choices:
            return np.zeros((len(rows), 0))
        return np.concatenate([table[rows[:, i]] for i, table in enumerate(self.tables)], axis=1)

    def features(self, rows: Rows) -> Features:
        """Return the columns that regressions see, one row each."""
        operations = self.operations
        if operations is None or not len(rows):
            return self.values(rows)
        shares = np.array([[self._share(row, operations)] for row in map(tuple, rows.tolist())])
        return np.concatenate([self.values(rows), shares], axis=1)

    def _share(self, row: tuple[int, ...], operations: Callable[[Decision], float]) -> float:
        if row not in self._shares:
            left = operations(self.decision(np.array(row))) / max(operations(Decision()), 1.0)
            self._shares[row] = 0.5 * math.log(max(left, 1e-6))
        return self._shares[row]

    def random(self, count: int, generator: np.random.Generator) -> Rows:
        """Return rows with each choice drawn uniformly."""
        drawn = generator.integers(0, self.lengths, size=(count, len(self.choices)), dtype=np.int64)
        return self.canonical(drawn)

    def children(self, parents: Rows, count: int, generator: np.random.Generator) -> Rows:
        """Return uniform crossovers of pairs of parents, each gene mutated with probability 1 / genes."""
        width = max(len(self.choices), 1)
        pairs = generator.integers(0, len(parents), size=(2, count))
        mixed = np.where(generator.random((count, width)) < 0.5, parents[pairs[0]], parents[pairs[1]])
        mutated = generator.random((count, width)) < 1.0 / width
        fresh = generator.integers(0, self.lengths, size=mixed.shape, dtype=np.int64)
        return self.canonical(np.where(mutated, fresh, mixed))


def ordered(choice: Choice) -> bool:
    """Say whether the values are numbers in rising or falling order, so that neighbours are alike.

    >>> ordered(Choice("a:bits", (4, 8), 8)), ordered(Choice("a:keep", (True, False), True))
    (True, False)
    """
    values = list(choice.values)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return False
    return values in (sorted(values), sorted(values, reverse=True))


def _columns(choice: Choice) -> Features:
    """Return the features of each value of a choice."""
    count = len(choice.values)
    if ordered(choice) or count == 2:
        return np.linspace(0.0, 1.0, count)[:, None] if count > 1 else np.zeros((1, 1))
    return np.eye(count)
