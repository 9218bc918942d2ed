"""Losses by name, for data of users: each takes a network's outputs and the targets, whatever shapes both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import TaskError, unknown
from whet.support.structure import Tree, tensors

Wants = Literal["classes", "tokens", "numbers", "boxes"]


class Row(NamedTuple):
    """A loss, and what targets it takes."""

    function: Callable[[Tree, Tensor], Tensor]
    wants: tuple[Wants, ...]


def main_output(outputs: Tree) -> Tensor:
    """Return the tensor that counts, of any shape: the only one, the one called `logits`, or the first.

    >>> main_output({"state": torch.ones(2), "logits": torch.zeros(1)})
    tensor([0.])
    """
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and isinstance(outputs.get("logits"), Tensor):
        found: Tensor = outputs["logits"]
        return found
    return tensors(outputs)[0]


def rows_of_classes(outputs: Tree, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (n, classes) and class numbers (n,) of outputs whose classes lie in the last axis or in axis 1.

    Targets below zero, which mark what does not count, are left out.
    Raises: TaskError where no axis can be the classes'.
    """
    logits, shape = main_output(outputs), tuple(targets.shape)
    if tuple(logits.shape[:-1]) == shape or (logits.dim() == 2 and logits.shape[:1] == shape):
        rows = logits.reshape(-1, logits.shape[-1])
    elif logits.dim() > 2 and (logits.shape[0], *logits.shape[2:]) == shape:
        rows = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    else:
        raise TaskError(
            f"outputs {tuple(logits.shape)} do not fit targets {shape}: classes lie in the last axis or in axis 1."
        )
    flat = targets.reshape(-1)
    counts = flat >= 0
    return (rows, flat) if bool(counts.all()) else (rows[counts], flat[counts])


def of_one_shape(outputs: Tree, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets, floats in the shape of the outputs: (N,) and (N, 1) are the same.

    Raises: TaskError where their numbers differ.
    """
    values = main_output(outputs)
    if values.numel() != targets.numel():
        raise TaskError(f"outputs {tuple(values.shape)} do not fit targets {tuple(targets.shape)}.")
    return values, targets.to(values.dtype).reshape(values.shape)


def cross_entropy(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean of -log softmax(logits)[class], a scalar, in nats."""
    return functional.cross_entropy(*rows_of_classes(outputs, targets))


def nll(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean of -log p[class], a scalar, of a network that gives probabilities."""
    rows, classes = rows_of_classes(outputs, targets)
    return functional.nll_loss(rows.clamp_min(1e-12).log(), classes)


def bce(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits, a scalar: one for two classes, or several labels at once."""
    return functional.binary_cross_entropy_with_logits(*of_one_shape(outputs, targets))


def mse(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean squared error, a scalar."""
    return functional.mse_loss(*of_one_shape(outputs, targets))


def mae(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean absolute error, a scalar."""
    return functional.l1_loss(*of_one_shape(outputs, targets))


def huber(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the mean of squares below 1 and of absolute values above, a scalar."""
    return functional.huber_loss(*of_one_shape(outputs, targets))


def cosine(outputs: Tree, targets: Tensor) -> Tensor:
    """Return one minus the mean cosine between the rows of outputs and targets, a scalar; shapes (..., features)."""
    return (1 - functional.cosine_similarity(*of_one_shape(outputs, targets), dim=-1)).mean()


LOSSES: dict[str, Row] = {
    "cross_entropy": Row(cross_entropy, ("classes", "tokens")),
    "nll": Row(nll, ("classes", "tokens")),
    "bce": Row(bce, ("classes", "numbers")),
    "mse": Row(mse, ("numbers",)),
    "mae": Row(mae, ("numbers",)),
    "huber": Row(huber, ("numbers",)),
    "cosine": Row(cosine, ("numbers",)),
}


def get(name: str) -> Row:
    """Return a loss by its name; raise UnknownNameError with the nearest."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name]


def usual(wants: Wants, outputs: Tensor) -> str:
    """Return the name of the loss for targets and outputs, of which one batch of shape (N, ...) is given.

    Classes: `nll` for a network that gives probabilities, `bce` for one that gives a single logit, else cross-entropy.

    >>> usual("classes", torch.tensor([[0.2, 0.8]])), usual("classes", torch.zeros(4, 1))
    ('nll', 'bce')
    """
    if wants == "numbers":
        return "mse"
    if outputs.dim() < 2 or outputs.shape[-1] == 1:
        return "bce"
    sums = outputs.float().sum(-1)
    certain = bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones(()).expand_as(sums), atol=1e-3)
    return "nll" if certain else "cross_entropy"
