from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import StudyError
from whet.core.space import Choice, Space
from whet.core.strategy import point, size
from whet.search.predictors.weisfeiler_lehman import Graph, WeisfeilerLehman, chain, motifs

SPACE = Space([Choice(f"layer{i}:op", ("conv", "pool", "skip"), "conv") for i in range(5)])


def graphs() -> list[Graph]:
    return [chain(SPACE, point(SPACE, r)) for r in range(size(SPACE))]


def test_isomorphic_graphs_have_equal_motifs_and_others_not() -> None:
    triangle = Graph(("a", "b", "c"), ((0, 1), (1, 2), (0, 2)))
    renumbered = Graph(("c", "a", "b"), ((1, 2), (2, 0), (1, 0)))
    path = Graph(("a", "b", "c"), ((0, 1), (1, 2)))
    assert motifs(triangle, 2) == motifs(renumbered, 2)
    assert motifs(triangle, 2) != motifs(path, 2)
    assert motifs(triangle, 0) == motifs(path, 0)


def test_finds_the_motif_that_matters() -> None:
    """The value counts one motif, a pool after a conv; its importance must be the largest of all."""
    every = graphs()
    values = np.array([sum(g.labels[i : i + 2] == ("op=conv", "op=pool") for i in range(4)) for g in every], float)
    chosen = np.random.default_rng(0).permutation(len(every))[:120]
    model = WeisfeilerLehman().fit([every[i] for i in chosen], values[chosen])
    rest = np.setdiff1d(np.arange(len(every)), chosen)
    mean, _ = model.predict([every[i] for i in rest])
    assert np.corrcoef(mean, values[rest])[0, 1] > 0.8
    leading = list(model.importance())[:6]
    assert all("conv" in m and "pool" in m for m in leading)


def test_learns_order_that_labels_alone_cannot() -> None:
    every = graphs()
    values = np.array([float(g.labels[0] == "op=skip" and g.labels[1] == "op=pool") for g in every])
    errors = []
    for rounds in (0, 1):
        mean, _ = WeisfeilerLehman(rounds).fit(every[::2], values[::2]).predict(every[1::2])
        errors.append(float(np.square(mean - values[1::2]).mean()))
    assert errors[1] < errors[0]


def test_unseen_motifs_are_uncertain() -> None:
    known = [Graph(("a", "b"), ((0, 1),)), Graph(("b", "a"), ((0, 1),))]
    model = WeisfeilerLehman().fit(known, np.array([1.0, 2.0]))
    (same, strange) = model.predict([known[0], Graph(("x", "y"), ((0, 1),))])[1]
    assert strange > 3 * same


def test_asked_before_it_has_data() -> None:
    with pytest.raises(StudyError, match="before it had data"):
        WeisfeilerLehman().predict([])
