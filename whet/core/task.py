"""`Task`: data, loss, metric. Plain values; the search sees `train`, `val` and `calibration` only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from whet.core.errors import TaskError

Batch = tuple[Tensor | tuple[Tensor, ...], Tensor]
Batches = Iterable[Batch]
Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


def split(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the inputs of a batch as a tuple, and its targets."""
    inputs, targets = batch
    return (inputs if isinstance(inputs, tuple) else (inputs,)), targets


def first_inputs(batches: Batches, samples: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the inputs of whole batches until they hold at least `samples` samples."""
    for batch in batches:
        inputs, _ = split(batch)
        yield inputs
        samples -= len(inputs[0])
        if samples <= 0:
            return


@dataclass(frozen=True)
class Task:
    """Data with a loss and a metric.

    `train`, `val`, `test` and `calibration` are re-iterable collections of `(inputs, targets)` batches, where
    `inputs` is a tensor or a tuple of tensors. If a collection has a method `at_epoch(epoch)`, the training loop
    calls it for that epoch's batches, which makes an interrupted training resume exactly. `metric` is computed
    once over the concatenated outputs and targets. `drop` says how a limit such as `max_drop` reads: `absolute`
    (0.01 is one point of accuracy) or `relative` (0.01 is one per cent of the reference).
    """

    name: str
    train: Batches
    val: Batches
    loss: Loss
    metric: Metric
    test: Batches | None = None
    calibration: Batches | None = None
    metric_name: str = "accuracy"
    direction: Literal["max", "min"] = "max"
    drop: Literal["absolute", "relative"] = "absolute"

    def __post_init__(self) -> None:
        if self.val is None or (hasattr(self.val, "__len__") and len(self.val) == 0):  # type: ignore[arg-type]
            raise TaskError(f"task '{self.name}' has no validation data: the search would have nothing to choose by.")

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the metric as a finite float, or raise `TaskError`."""
        value = self.metric(outputs, targets)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TaskError(
                f"metric '{self.metric_name}' of task '{self.name}' must return a number; "
                f"got {type(value).__name__} {value!r:.80}."
            ) from None
        if not math.isfinite(number):
            raise TaskError(f"metric '{self.metric_name}' of task '{self.name}' returned {number}.")
        return number

    def loss_of_quality(self, value: float, reference: float) -> float:
        """Return how much worse `value` is than `reference`, in the unit of `max_drop`; negative is better."""
        worse = reference - value if self.direction == "max" else value - reference
        return worse if self.drop == "absolute" else worse / max(abs(reference), 1e-12)

    def better(self, a: float, b: float) -> bool:
        return a > b if self.direction == "max" else a < b


@torch.no_grad()
def predict(run: Callable[..., Tensor], batches: Batches, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of `run` over the first `limit` samples of `batches`, concatenated."""
    outputs, targets, seen = [], [], 0
    for batch in batches:
        inputs, target = split(batch)
        outputs.append(run(*inputs).float())
        targets.append(target)
        seen += len(target)
        if limit is not None and seen >= limit:
            break
    if not outputs:
        raise TaskError("there are no batches to predict on.")
    return torch.cat(outputs), torch.cat(targets)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Top-1 accuracy, the share of rows whose largest output is the target, in [0, 1].

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    return float((outputs.argmax(-1) == targets).float().mean())
