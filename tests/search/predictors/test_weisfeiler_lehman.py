from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import StudyError
from whet.core.space import Choice, Space
from whet.decisions.enumerate import point, size
from whet.search.predictors.posterior import NOISES
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


def test_forecasts_are_those_of_the_normalised_kernel_with_every_unseen_motif_of_its_own() -> None:
    """By hand: of (x, y, a) two labels and all pairs are new; they lengthen it, and have nothing in common."""
    known = [Graph(("a", "a", "b"), ((0, 1), (1, 2))), Graph(("b", "b"), ((0, 1),))]
    new = Graph(("x", "y", "a"), ((0, 1), (1, 2)))
    values = np.array([1.0, 3.0])
    # Counts of a and b and of three or two pairs, all different: lengths sqrt(4 + 1 + 3), sqrt(4 + 2), sqrt(3 + 3).
    length, other, strange = np.sqrt(8), np.sqrt(6), np.sqrt(6)
    between = 2 / (length * other)
    cross = np.array([2 / (length * strange), 0.0])
    model = WeisfeilerLehman(rounds=1).fit(known, values)
    gram = np.array([[1.0, between], [between, 1.0]])
    targets = np.array([-1.0, 1.0])

    def evidence(noise: float) -> float:
        covariance = gram + noise * np.eye(2)
        return float(-targets @ np.linalg.solve(covariance, targets) - np.log(np.linalg.det(covariance))) / 2

    noise = max(NOISES, key=evidence)
    inverse = np.linalg.inv(gram + noise * np.eye(2))
    mean, deviation = model.predict([new])
    assert mean[0] == pytest.approx(2 + cross @ inverse @ targets)
    assert deviation[0] == pytest.approx(np.sqrt(1 - cross @ inverse @ cross))
    assert model._posterior.evidence == pytest.approx(evidence(noise))


@pytest.mark.parametrize(
    ("run", "height"), [(("op=pool",), 0), (("op=conv", "op=pool"), 1), (("op=skip", "op=skip"), 1)]
)
def test_the_height_is_that_of_the_motifs_that_matter(run: tuple[str, ...], height: int) -> None:
    """A value that counts labels is one of height 0, one that counts pairs is one of height 1, by their evidence."""
    every = graphs()
    count = [sum(g.labels[i : i + len(run)] == run for i in range(6 - len(run))) for g in every]
    values = np.array(count, dtype=float)
    chosen = np.random.default_rng(0).permutation(len(every))[:120]
    learnt = [every[i] for i in chosen]
    model = WeisfeilerLehman().fit(learnt, values[chosen])
    assert model.rounds == height
    same = WeisfeilerLehman(height).fit(learnt, values[chosen])
    np.testing.assert_allclose(model.predict(every)[0], same.predict(every)[0])


def test_importance_is_the_derivative_of_the_forecast_by_a_motifs_count() -> None:
    known = [Graph(("a", "a", "b"), ((0, 1), (1, 2))), Graph(("b", "b"), ((0, 1),)), Graph(("a", "c"), ((0, 1),))]
    model = WeisfeilerLehman(rounds=0).fit(known, np.array([1.0, 3.0, -1.0]))
    counts = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]])
    unit = counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def forecasts(rows: np.ndarray) -> np.ndarray:
        return model._posterior.predict(rows / np.linalg.norm(rows, axis=1, keepdims=True) @ unit.T, 1.0)[0]

    found = model.importance()
    assert list(found.values()) == sorted(found.values(), reverse=True)
    for column, name in enumerate("abc"):
        step = np.zeros((3, 3))
        step[:, column] = 1e-6
        slope = (forecasts(counts + step) - forecasts(counts - step)).mean() / 2e-6
        assert found[name] == pytest.approx(slope, rel=1e-5)


def test_asked_before_it_has_data() -> None:
    with pytest.raises(StudyError, match="got -1"):
        WeisfeilerLehman(rounds=-1)
    with pytest.raises(StudyError, match="before it had data"):
        WeisfeilerLehman().predict([])
