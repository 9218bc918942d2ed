"""Weisfeiler-Lehman features of labelled graphs, a Gaussian process on them, and which motifs matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import StudyError
from whet.core.space import Decision, Space
from whet.search.genes import Vector
from whet.search.predictors.posterior import Posterior


@dataclass(frozen=True)
class Graph:
    """A directed graph: a label for each node, and each node's successors."""

    labels: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


def chain(space: Space, decision: Decision) -> Graph:
    """Return the graph of a decision: one node a site, in the order of the network, labelled by what is decided there.

    >>> from whet.core.space import Choice
    >>> space = Space([Choice("a:keep", (True, False), True), Choice("b:bits", (8, 32), 32)])
    >>> chain(space, Decision({"b:bits": 8})).labels
    ('keep=True', 'bits=8')
    """
    sites: dict[str, list[str]] = {}
    for choice in space:
        if space.active(choice, decision):
            sites.setdefault(choice.site, []).append(f"{choice.kind}={decision.of(choice)}")
    labels = tuple(",".join(parts) for parts in sites.values())
    return Graph(labels, tuple((i, i + 1) for i in range(len(labels) - 1)))


def motifs(graph: Graph, rounds: int) -> Counter[str]:
    """Return how often each motif occurs: labels, then labels with their neighbours' labels, `rounds` times.

    Each round a node's label becomes `label(sorted labels of its predecessors > sorted labels of its successors)`, so
    after h rounds it names the tree of height h around the node (Shervashidze et al. 2011, Weisfeiler-Lehman Graph
    Kernels).

    >>> motifs(Graph(("a", "b"), ((0, 1),)), 1)
    Counter({'a': 1, 'b': 1, 'a(>b)': 1, 'b(a>)': 1})
    """
    before: dict[int, list[int]] = {i: [] for i in range(len(graph.labels))}
    after: dict[int, list[int]] = {i: [] for i in range(len(graph.labels))}
    for source, sink in graph.edges:
        after[source].append(sink)
        before[sink].append(source)
    labels = list(graph.labels)
    counted = Counter(labels)
    for _ in range(rounds):
        labels = [
            f"{label}({' '.join(sorted(labels[j] for j in before[i]))}>{' '.join(sorted(labels[j] for j in after[i]))})"
            for i, label in enumerate(labels)
        ]
        counted.update(labels)
    return counted


class WeisfeilerLehman:
    """A Gaussian process whose kernel is the normalised product of two graphs' motif counts.

        k(g, h) = sum_m g_m h_m / sqrt(sum_m g_m^2 sum_m h_m^2)

    The noise is that of the largest evidence. `importance` is the posterior expectation of the forecast's derivative
    by a motif's count, averaged over the graphs that it was fitted to: motifs that make the value larger are positive.

    Paper: Ru et al. 2021, Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman
    Kernels (P685). Raises: StudyError when asked before it has data.
    """

    def __init__(self, rounds: int = 1) -> None:
        self.rounds = rounds
        self._names: dict[str, int] = {}
        self._counts: NDArray[np.float64] | None = None

    def fit(self, graphs: Sequence[Graph], values: Vector) -> WeisfeilerLehman:
        """Learn from graphs and their values."""
        counted = [motifs(g, self.rounds) for g in graphs]
        self._names = {name: i for i, name in enumerate(sorted({m for c in counted for m in c}))}
        self._counts = self._rows(counted)
        unit = _unit(self._counts)
        self._posterior = Posterior.of(unit @ unit.T, values)
        return self

    def _rows(self, counted: Sequence[Mapping[str, int]]) -> NDArray[np.float64]:
        """Return counts of the motifs that were seen in fitting; others have nothing in common with those."""
        rows = np.zeros((len(counted), len(self._names) + 1))
        for row, counts in zip(rows, counted, strict=True):
            for name, count in counts.items():
                row[self._names.get(name, -1)] += count
        return rows

    def predict(self, graphs: Sequence[Graph]) -> tuple[Vector, Vector]:
        """Return the posterior mean and standard deviation of each graph."""
        fitted = self._fitted()
        rows = self._rows([motifs(g, self.rounds) for g in graphs])
        known = rows.copy()
        known[:, -1] = 0.0
        cross = known / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) @ _unit(fitted).T
        return self._posterior.predict(cross, 1.0)

    def importance(self) -> dict[str, float]:
        """Return each motif's mean derivative, the largest first: what helps and what hurts."""
        counts = self._fitted()
        norms = np.linalg.norm(counts, axis=1, keepdims=True)
        pulled = self._posterior.weights @ _unit(counts)
        along = (counts / norms) @ pulled
        slopes = ((pulled[None] - along[:, None] * counts / norms) / norms).mean(0) * self._posterior.scale
        found = {name: float(slopes[i]) for name, i in self._names.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _fitted(self) -> NDArray[np.float64]:
        if self._counts is None:
            raise StudyError("the Weisfeiler-Lehman process was asked before it had data.")
        return self._counts


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled
