"""What a saved file computes, in its runtime, against what it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import ArtifactError, TaskError
from whet.core.target import Session
from whet.core.task import Batches, split


@dataclass(frozen=True)
class Agreement:
    """How two sets of outputs agree.

    `top1_agreement` is the share of rows with the same largest entry, None where the last dimension is one
    (regression). `relative_difference` is `|a - b| / |b|` in the Euclidean norm.
    """

    top1_agreement: float | None
    max_abs_difference: float
    mean_abs_difference: float
    relative_difference: float


def agreement(outputs: Tensor, reference: Tensor) -> Agreement:
    """Compare `outputs` with `reference`, of the same shape.

    >>> agreement(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 2.0]])).max_abs_difference
    1.0
    """
    if outputs.shape != reference.shape:
        raise ArtifactError(f"outputs have shape {tuple(outputs.shape)}; expected {tuple(reference.shape)}.")
    apart = (outputs - reference).abs()
    top1 = float((outputs.argmax(-1) == reference.argmax(-1)).float().mean()) if outputs.shape[-1] > 1 else None
    norm = float(reference.norm())
    relative = float((outputs - reference).norm()) / norm if norm > 0 else float(apart.max() > 0)
    return Agreement(top1, float(apart.max()), float(apart.mean()), relative)


def evaluate(open_session: Callable[[int], Session], batches: Batches, batch: int) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of a file over `batches`, run `batch` samples at a time.

    `open_session(n)` loads the file for a static batch of n. The last samples of each batch are padded by repeating
    the first, and the padding's outputs dropped.
    """
    session = open_session(batch)
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    for item in batches:
        inputs, target = split(item)
        for start in range(0, len(inputs[0]), batch):
            chunk = [x[start : start + batch].contiguous().numpy() for x in inputs]
            count = len(chunk[0])
            if count < batch:
                chunk = [np.concatenate([x, np.repeat(x[:1], batch - count, axis=0)]) for x in chunk]
            outputs.append(torch.from_numpy(np.array(session(*chunk)[:count], dtype=np.float32)))
        targets.append(target)
    if not outputs:
        raise TaskError("there are no batches to evaluate on.")
    return torch.cat(outputs), torch.cat(targets)
