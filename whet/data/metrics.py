"""Metrics by name, for data of users: scikit-learn's, or a line of torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import unknown
from whet.data import detection, losses
from whet.data.losses import Wants, main_output, of_one_shape, rows_of_classes
from whet.support.structure import Tree


class Row(NamedTuple):
    """A metric: what is computed, which direction is better, how a limit reads, and what targets it takes."""

    function: Callable[[Tree, Any], float]
    direction: Literal["max", "min"]
    drop: Literal["absolute", "relative"]
    wants: tuple[Wants, ...]


def _choices(outputs: Tree, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return chosen and true classes, (n,) each; a single logit chooses class 1 above zero."""
    values = main_output(outputs)
    if values.dim() < 2 or values.shape[-1] == 1:
        logits, wanted = of_one_shape(outputs, targets)
        return (logits > 0).long().flatten(), wanted.long().flatten()
    rows, wanted = rows_of_classes(outputs, targets)
    return rows.argmax(-1), wanted


def _shares(outputs: Tree, targets: Tensor) -> tuple[Any, Any]:
    """Return true classes (n,) and probabilities, (n,) of class 1 of two or (n, classes), as arrays."""
    values = main_output(outputs)
    if values.dim() < 2 or values.shape[-1] == 1:
        logits, wanted = of_one_shape(outputs, targets)
        return wanted.long().flatten().numpy(), logits.flatten().sigmoid().numpy()
    rows, wanted = rows_of_classes(outputs, targets)
    shares = rows if losses.usual("classes", rows) == "nll" else rows.double().softmax(-1)
    return wanted.numpy(), (shares[:, 1] if shares.shape[1] == 2 else shares / shares.sum(-1, keepdim=True)).numpy()


def _sklearn(name: str) -> Any:
    """Return a metric of scikit-learn; it is imported only where it is wanted."""
    return getattr(import_module("sklearn.metrics"), name)


def accuracy(outputs: Tree, targets: Tensor) -> float:
    """Return the share of right choices, in [0, 1]; targets of shape (N,), (N, tokens) or (N, H, W)."""
    chosen, wanted = _choices(outputs, targets)
    return float((chosen == wanted).float().mean())


def top5(outputs: Tree, targets: Tensor) -> float:
    """Return the share of rows whose class is among the five largest outputs; outputs (N, classes)."""
    rows, wanted = rows_of_classes(outputs, targets)
    best = rows.topk(min(5, rows.shape[-1]), -1).indices
    return float((best == wanted[:, None]).any(-1).float().mean())


def f1(outputs: Tree, targets: Tensor) -> float:
    """Return the F1 score, the mean over the classes; outputs (N, classes)."""
    chosen, wanted = _choices(outputs, targets)
    return float(_sklearn("f1_score")(wanted.numpy(), chosen.numpy(), average="macro", zero_division=0))


def balanced_accuracy(outputs: Tree, targets: Tensor) -> float:
    """Return the recall, the mean over the classes that occur; outputs (N, classes)."""
    chosen, wanted = _choices(outputs, targets)
    hits = [(chosen[wanted == one] == one).float().mean() for one in set(wanted.tolist())]
    return float(torch.stack(hits).mean())


def auroc(outputs: Tree, targets: Tensor) -> float:
    """Return the area under the ROC curve; of several classes that of each against the rest, its mean.

    Outputs (N, classes). Classes that do not occur in the targets do not count.
    """
    wanted, shares = _shares(outputs, targets)
    if shares.ndim == 1:
        return float(_sklearn("roc_auc_score")(wanted, shares))
    each = [_sklearn("roc_auc_score")(wanted == one, shares[:, one]) for one in set(wanted.tolist())]
    return float(sum(each) / len(each))


def average_precision(outputs: Tree, targets: Tensor) -> float:
    """Return the area under precision over recall; of several classes that of each against the rest, its mean.

    Outputs (N, classes).
    """
    wanted, shares = _shares(outputs, targets)
    score = _sklearn("average_precision_score")
    if shares.ndim == 1:
        return float(score(wanted, shares))
    each = [score(wanted == one, shares[:, one]) for one in set(wanted.tolist())]
    return float(sum(each) / len(each))


def rmse(outputs: Tree, targets: Tensor) -> float:
    """Return the root of the mean squared error, in the targets' unit; both of one shape."""
    return float(losses.mse(outputs, targets).double().sqrt())


def mae(outputs: Tree, targets: Tensor) -> float:
    """Return the mean absolute error, in the targets' unit; both of one shape."""
    return float(losses.mae(outputs, targets))


def r2(outputs: Tree, targets: Tensor) -> float:
    """Return the share of the targets' variance that is foretold, 1 - |y - f|^2 / |y - mean|^2; both of one shape."""
    values, wanted = of_one_shape(outputs, targets)
    return float(_sklearn("r2_score")(wanted.reshape(len(wanted), -1).numpy(), values.reshape(len(wanted), -1).numpy()))


def spearman(outputs: Tree, targets: Tensor) -> float:
    """Return the correlation of the ranks of outputs and targets, in [-1, 1]; both of one shape."""
    values, wanted = of_one_shape(outputs, targets)
    return float(import_module("scipy.stats").spearmanr(values.flatten(), wanted.flatten()).statistic)


def cosine(outputs: Tree, targets: Tensor) -> float:
    """Return the mean cosine between the rows of outputs and targets; shapes (..., features)."""
    return float(functional.cosine_similarity(*of_one_shape(outputs, targets), dim=-1).mean())


def perplexity(outputs: Tree, targets: Tensor) -> float:
    """Return e to the mean cross-entropy; outputs (N, tokens, vocabulary), targets (N, tokens)."""
    return float(losses.cross_entropy(outputs, targets).double().exp())


def miou(outputs: Tree, targets: Tensor) -> float:
    """Return intersection over union of chosen and true classes, the mean over the classes.

    Outputs (N, classes, H, W), targets (N, H, W); targets below zero do not count.
    """
    chosen, wanted = _choices(outputs, targets)
    return float(_sklearn("jaccard_score")(wanted.numpy(), chosen.numpy(), average="macro", zero_division=0))


METRICS: dict[str, Row] = {
    "accuracy": Row(accuracy, "max", "absolute", ("classes", "tokens")),
    "top5": Row(top5, "max", "absolute", ("classes", "tokens")),
    "f1": Row(f1, "max", "absolute", ("classes",)),
    "balanced_accuracy": Row(balanced_accuracy, "max", "absolute", ("classes",)),
    "auroc": Row(auroc, "max", "absolute", ("classes",)),
    "average_precision": Row(average_precision, "max", "absolute", ("classes",)),
    "miou": Row(miou, "max", "absolute", ("classes",)),
    "rmse": Row(rmse, "min", "relative", ("numbers",)),
    "mae": Row(mae, "min", "relative", ("numbers",)),
    "r2": Row(r2, "max", "absolute", ("numbers",)),
    "spearman": Row(spearman, "max", "absolute", ("numbers",)),
    "cosine": Row(cosine, "max", "absolute", ("numbers",)),
    "perplexity": Row(perplexity, "min", "relative", ("tokens",)),
    "map": Row(detection.mean_average_precision, "max", "absolute", ("boxes",)),
}
USUAL: dict[Wants, str] = {"classes": "accuracy", "numbers": "rmse", "tokens": "perplexity", "boxes": "map"}
"""The metric of targets that nobody names one for."""


def get(name: str) -> Row:
    """Return a metric by its name; raise UnknownNameError with the nearest."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]
