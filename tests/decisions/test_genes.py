from __future__ import annotations

import numpy as np
import pytest

from whet.decisions.enumerate import point, size
from whet.decisions.genes import Genes
from whet.testing.strategies import SPACES


@pytest.mark.parametrize("name", list(SPACES))
def test_decisions_and_rows_are_the_same_thing(name: str) -> None:
    space = SPACES[name]
    genes = Genes(space)
    decisions = [point(space, r) for r in range(min(size(space), 200))]
    rows = genes.rows(decisions)
    assert [genes.decision(row) for row in rows] == decisions
    assert len(genes.features(rows)) == len(decisions)


@pytest.mark.parametrize("name", ["ordered", "mixed", "conditional"])
def test_what_is_drawn_and_born_is_canonical(name: str) -> None:
    genes = Genes(SPACES[name])
    generator = np.random.default_rng(0)
    rows = genes.random(100, generator)
    for population in (rows, genes.children(rows, 100, generator)):
        assert np.array_equal(genes.rows([genes.decision(r) for r in population]), population)
        assert (population < genes.lengths).all()


def test_a_child_takes_most_genes_from_its_parents() -> None:
    genes = Genes(SPACES["ordered"])
    parents = np.zeros((2, 6), dtype=np.int64)
    parents[1] = 3
    children = genes.children(parents, 1000, np.random.default_rng(0))
    assert 0.85 < np.isin(children, (0, 3)).mean() < 0.97
