"""A latency model of one device: what kinds of layers cost there, learnt from networks that were measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from torch import fx, nn

from whet.core.errors import StudyError
from whet.core.net import Net
from whet.decisions.genes import Vector

ALIGNMENT = 16
"""Channels are counted in whole blocks of so many, as vector units take them."""
FOLDED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout)


@dataclass(frozen=True)
class Errors:
    """Relative errors of forecasts of networks that the model had not seen."""

    median: float
    percentile_95: float


def costs(net: Net) -> dict[str, float]:
    """Return what a network's latency is made of: for each kind of layer its work, its outputs and its count.

    Work is multiply-accumulates with channels in whole blocks of `ALIGNMENT`. Convolutions of different output sizes
    are kinds of their own, because their speed differs. What folds into its neighbour counts nothing.
    """
    shapes, found = net.forward_shapes(), defaultdict[str, float](float)
    for node in net.graph.nodes:
        shape = shapes.get(node.name)
        if shape is None or node.op not in ("call_module", "call_function"):
            continue
        kind, work = _kind(net, node, shape)
        if kind:
            found[f"{kind}: work"] += work
            found[f"{kind}: outputs"] += math.prod(shape[1:])
            found[f"{kind}: count"] += 1
    return dict(found)


def _kind(net: Net, node: fx.Node, shape: Sequence[int]) -> tuple[str, float]:
    """Return the kind of a node and its work; no kind for what costs nothing of its own."""
    if node.op == "call_function":
        return "operation", 0.0
    layer = net.layer(str(node.target))
    if isinstance(layer, FOLDED):
        return "", 0.0
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        alone = layer.groups == layer.in_channels > 1
        inputs = 1 if alone else _blocks(layer.in_channels // layer.groups)
        where = "x".join(str(s) for s in shape[2:])
        work = _blocks(layer.out_channels) * inputs * math.prod(layer.kernel_size) * math.prod(shape[2:])
        return f"{'depthwise ' if alone else ''}convolution {where}", float(work)
    if isinstance(layer, nn.Linear):
        return "linear", float(_blocks(layer.in_features) * _blocks(layer.out_features) * math.prod(shape[1:-1]))
    return type(layer).__name__.lower(), 0.0


def _blocks(channels: int) -> int:
    return math.ceil(channels / ALIGNMENT) * ALIGNMENT


class LatencyModel:
    """A sum over kinds of layers with coefficients that cannot be negative.

        latency = sum_k  a_k work_k + b_k outputs_k + c_k count_k,    a, b, c >= 0

    fitted to the least sum of squared *relative* errors. It forecasts what it was fitted on: milliseconds, or ratios
    to a reference, which noise of the machine spares. Raises: StudyError when asked before it has data.

    Paper: Cai et al. 2019, ProxylessNAS, which fits a latency model to measured networks of a space.
    """

    def __init__(self) -> None:
        self._coefficients: dict[str, float] = {}

    def fit(self, nets: Sequence[Net], latencies: Sequence[float]) -> LatencyModel:
        """Learn from measured networks."""
        return self._fit([costs(net) for net in nets], latencies)

    def __call__(self, net: Net) -> float:
        """Return the forecast latency of a network."""
        return self._predict(costs(net))

    def _fit(self, rows: Sequence[dict[str, float]], latencies: Sequence[float]) -> LatencyModel:
        names = sorted({name for row in rows for name in row})
        table = np.array([[row.get(name, 0.0) for name in names] for row in rows]).reshape(len(rows), len(names))
        scale = np.maximum(table.mean(0), 1e-12)
        values = np.asarray(latencies, dtype=float)
        solved, _ = nnls(table / scale / values[:, None], np.ones(len(values)))
        self._coefficients = dict(zip(names, (solved / scale).tolist(), strict=True))
        return self

    def _predict(self, row: dict[str, float]) -> float:
        if not self._coefficients:
            raise StudyError("the latency model was asked before it had data.")
        return sum(self._coefficients.get(name, 0.0) * amount for name, amount in row.items())


def errors(nets: Sequence[Net], latencies: Sequence[float], folds: int = 5, seed: int = 0) -> Errors:
    """Return the relative errors of a model for networks left out of its fit, each left out once.

    Raises: StudyError for fewer networks than `folds`.
    """
    if len(nets) < max(folds, 2):
        raise StudyError(f"errors over {folds} folds need as many networks; got {len(nets)}.")
    rows, values = [costs(net) for net in nets], np.asarray(latencies, dtype=float)
    parts = np.array_split(np.random.default_rng(seed).permutation(len(rows)), folds)
    found: list[float] = []
    for left_out in parts:
        kept = [i for i in range(len(rows)) if i not in set(left_out.tolist())]
        model = LatencyModel()._fit([rows[i] for i in kept], values[kept].tolist())
        found += [abs(model._predict(rows[i]) / values[i] - 1) for i in left_out]
    every: Vector = np.array(found)
    return Errors(float(np.median(every)), float(np.percentile(every, 95)))
