"""What calibration shows of the tensors that quantized layers read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Inputs
from whet.compress.quantize.observers import Seen
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.task import Task, first_inputs

KEPT_VALUES = 65536
"""Values kept of a tensor, in `KEPT_BATCHES` batches."""
KEPT_BATCHES = 8
KEPT_ROWS = 1024
"""Rows kept of what linear layers read: a thousand positions hold some tens of the outlying ones, one or two in a
sentence."""
MEMORY_BYTES = 256 * 2**20
"""For rows of all tensors together; there are fewer rows where that is not enough for `KEPT_ROWS`."""


@dataclass(frozen=True)
class Rows:
    """Rows of a tensor whose last dimension are features, `(n, features)`, and the extremes of each feature."""

    values: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, parts: Sequence[Rows]) -> Rows:
        """Return what several batches showed together."""
        low, high = (torch.stack([getattr(p, end) for p in parts]) for end in ("low", "high"))
        return cls(torch.cat([p.values for p in parts]), low.amin(0), high.amax(0))

    @property
    def most(self) -> Tensor:
        """The largest absolute value of each feature, never zero."""
        return torch.maximum(-self.low, self.high).clamp_min(1e-5)

    def times(self, factor: Tensor) -> Rows:
        """Return the rows of the tensor times a positive factor for each feature."""
        return Rows(self.values * factor, self.low * factor, self.high * factor)

    def seen(self) -> Seen:
        """Return what an observer looks at: the values without their features, as many as it is given elsewhere."""
        flat = self.values.flatten()
        if len(flat) > KEPT_VALUES:
            flat = flat[torch.randint(len(flat), (KEPT_VALUES,), generator=torch.Generator().manual_seed(0))]
        return Seen(flat, float(self.low.min()), float(self.high.max()))


@dataclass(frozen=True)
class Observed:
    """What was seen of the tensors that layers read, by node; rows only where all readers are linear layers."""

    seen: dict[str, Seen]
    rows: dict[str, Rows]


def calibration_inputs(task: Task, samples: int) -> list[Inputs]:
    """Return whole batches of calibration inputs, training inputs where there are none, of at least `samples` samples.

    Raises: CalibrationError if there are none.
    """
    source = task.calibration if task.calibration is not None else task.train
    if source is None:
        raise CalibrationError(f"int8 needs calibration data: task '{task.name}' has no calibration batches.")
    found = list(first_inputs(source, samples))
    if not found:
        raise CalibrationError(f"int8 needs calibration data: task '{task.name}' gave no batch.")
    return found


def observe(
    net: Net, sites: Collection[str], batches: Sequence[Inputs], seed: int, others: Collection[str] = ()
) -> Observed:
    """Run the net in eval mode on the batches; return what is seen of each tensor that a layer of `sites` reads.

    `others` are nodes whose tensors are looked at besides.
    """
    readers: dict[str, list[fx.Node]] = {}
    for node in net.graph.nodes:
        if node.op == "call_module" and str(node.target) in sites:
            readers.setdefault(node.args[0].name, []).append(node)
    linear: dict[str, int] = {}
    for name, nodes in readers.items():
        layers = [net.layer(str(n.target)) for n in nodes]
        if all(isinstance(layer, nn.Linear) for layer in layers):
            linear[name] = layers[0].weight.shape[1]  # type: ignore[index, assignment]
    rows = min(KEPT_ROWS, max(32, MEMORY_BYTES // max(1, 4 * sum(linear.values()))))
    observer = _Observer(net.module, {*readers, *others}, linear, math.ceil(rows / len(batches)), seed)
    with net.evaluating(), torch.no_grad():
        for inputs in batches:
            observer.run(*inputs)
    return Observed(
        {name: Seen.of(parts) for name, parts in observer.seen.items()},
        {name: Rows.of(parts) for name, parts in observer.kept.items()},
    )


class _Observer(fx.Interpreter):
    def __init__(
        self, module: fx.GraphModule, names: Collection[str], linear: Collection[str], rows: int, seed: int
    ) -> None:
        super().__init__(module)
        self.seen: dict[str, list[Seen]] = {name: [] for name in names}
        self.kept: dict[str, list[Rows]] = {name: [] for name in linear}
        self.rows, self.generator = rows, torch.Generator().manual_seed(seed)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.seen:
            flat = value.detach().float().flatten()
            picked = flat[torch.randint(len(flat), (KEPT_VALUES // KEPT_BATCHES,), generator=self.generator)]
            self.seen[n.name].append(Seen(picked, float(flat.min()), float(flat.max())))
        if n.name in self.kept:
            matrix = value.detach().float().reshape(-1, value.shape[-1])
            chosen = torch.randint(len(matrix), (self.rows,), generator=self.generator)
            self.kept[n.name].append(Rows(matrix[chosen], matrix.amin(0), matrix.amax(0)))
        return value
