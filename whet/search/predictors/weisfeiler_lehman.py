"""Weisfeiler-Lehman features of labelled graphs, a Gaussian process on them, and which motifs matter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import StudyError
from whet.core.space import Decision, Space
from whet.decisions.genes import Vector
from whet.search.predictors.posterior import Posterior

ROUNDS = (0, 1, 2, 3)
"""The heights of motifs among which the one of largest evidence is taken."""


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

    The height of the motifs, `rounds`, is that of the largest evidence among `ROUNDS`, or the one that is given; so is
    the noise. `importance` is the posterior expectation of the forecast's derivative by a motif's count, averaged over
    the graphs that it was fitted to: motifs that make the value larger are positive.

    Paper: Ru et al. 2021, Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman
    Kernels. Raises: StudyError when asked before it has data, and for a height below 0.

    >>> graphs = [Graph(("a", "b"), ((0, 1),)), Graph(("b", "a"), ((0, 1),)), Graph(("a", "a"), ((0, 1),))]
    >>> model = WeisfeilerLehman().fit(graphs, np.array([1.0, 0.0, 0.0]))
    >>> list(model.importance())[0]
    'a(>b)'
    """

    def __init__(self, rounds: int | None = None) -> None:
        if rounds is not None and rounds < 0:
            raise StudyError(f"motifs have a height of 0 or more; got {rounds}.")
        self.heights = ROUNDS if rounds is None else (rounds,)
        self.rounds = self.heights[0]
        self._names: dict[str, int] = {}
        self._counts: NDArray[np.float64] | None = None

    def fit(self, graphs: Sequence[Graph], values: Vector) -> WeisfeilerLehman:
        """Learn from graphs and their values."""
        best = -math.inf
        for rounds in self.heights:
            counted = [motifs(g, rounds) for g in graphs]
            names = {name: i for i, name in enumerate(sorted({m for c in counted for m in c}))}
            counts = _rows(counted, names)
            unit = counts / _norms(counted)
            posterior = Posterior.of(unit @ unit.T, values)
            if posterior.evidence > best:
                best, self.rounds, self._names = posterior.evidence, rounds, names
                self._counts, self._unit, self._posterior = counts, unit, posterior
        return self

    def predict(self, graphs: Sequence[Graph]) -> tuple[Vector, Vector]:
        """Return the posterior mean and standard deviation of each graph."""
        self._fitted()
        counted = [motifs(g, self.rounds) for g in graphs]
        return self._posterior.predict(_rows(counted, self._names) / _norms(counted) @ self._unit.T, 1.0)

    def importance(self) -> dict[str, float]:
        """Return each motif's mean derivative, the largest first: what helps and what hurts."""
        counts = self._fitted()
        norms = np.linalg.norm(counts, axis=1, keepdims=True)
        pulled = self._posterior.weights @ self._unit
        along = (counts / norms) @ pulled
        slopes = ((pulled[None] - along[:, None] * counts / norms) / norms).mean(0) * self._posterior.scale
        found = {name: float(slopes[i]) for name, i in self._names.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _fitted(self) -> NDArray[np.float64]:
        if self._counts is None:
            raise StudyError("the Weisfeiler-Lehman process was asked before it had data.")
        return self._counts


def _rows(counted: Sequence[Mapping[str, int]], names: Mapping[str, int]) -> NDArray[np.float64]:
    """Return counts of the motifs that have a column; others have nothing in common with what was fitted."""
    rows = np.zeros((len(counted), len(names)))
    for row, counts in zip(rows, counted, strict=True):
        for name in counts.keys() & names.keys():
            row[names[name]] = counts[name]
    return rows


def _norms(counted: Sequence[Mapping[str, int]]) -> NDArray[np.float64]:
    """Return `sqrt(sum_m g_m^2)` over all motifs of each graph, those that fitting never saw among them."""
    squares = [max(sum(count * count for count in counts.values()), 1e-24) for counts in counted]
    return np.sqrt(np.array(squares, dtype=np.float64))[:, None]
