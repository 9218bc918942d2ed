"""Labels as a file has them, made into class numbers or plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.source import Aim

MOST_CLASSES, LEAST_EACH = 100, 5
"""Whole numbers are classes if they take so few values, each of so many samples on average. Not measured: --loss mse
or --loss cross_entropy says which of both they are."""


@dataclass(frozen=True)
class Targets:
    """Targets, (rows,) or (rows, ...), what they are, and the names of the classes."""

    values: Tensor
    aim: Aim
    classes: tuple[str, ...] = ()
    note: str = ""


def targets_of(values: Any, where: str, aim: Aim | None = None) -> Targets:
    """Return what labels mean: text and truth values are classes, so are whole numbers of few values; the rest numbers.

    Whole numbers from 0 on stay as they are; other classes are numbered in their order. `values` are a sequence, or an
    array or tensor of shape (rows, ...).
    Raises: TaskError for a single class, for text where `aim` is numbers and for labels that are missing.

    >>> targets_of(["yes", "no", "yes"], "answers").values, targets_of([0.5, 2.0], "prices").aim
    (tensor([1, 0, 1]), 'numbers')
    """
    array = values.numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype == object:
        array = np.asarray([str(value) for value in array])
    whole = array.dtype.kind in "iu"
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise TaskError(f"{where} has {int((~np.isfinite(array)).sum())} values that are missing or infinite.")
        whole = aim == "classes" and bool((array == np.round(array)).all())
    if array.dtype.kind in "USb" or (whole and aim != "numbers" and (aim == "classes" or _few(array))):
        return _classes(array.astype(np.int64) if whole else array, where, aim)
    if aim == "classes":
        raise TaskError(
            f"{where} holds numbers such as {array.flat[0]:g}; the metric or loss that is named wants classes."
        )
    note = f"{where} holds whole numbers of many values, taken as numbers" if whole and aim is None else ""
    return Targets(torch.from_numpy(np.ascontiguousarray(array, np.float32)), "numbers", (), note)


def _few(array: np.ndarray[Any, Any]) -> bool:
    distinct = len(np.unique(array))
    return distinct <= MOST_CLASSES and distinct * LEAST_EACH <= array.size


def _classes(array: np.ndarray[Any, Any], where: str, aim: Aim | None) -> Targets:
    names, numbers = np.unique(array, return_inverse=True)
    if len(names) < 2:
        raise TaskError(f"{where} has a single class, '{names[0]}': there is nothing to tell apart.")
    if array.dtype.kind in "US" and aim == "numbers":
        raise TaskError(f"{where} holds text such as '{names[0]}'; the metric or loss that is named wants numbers.")
    note = ""
    if array.dtype.kind == "i":
        if names[0] == 0 and names[-1] < 2 * len(names):
            names, numbers = np.arange(names[-1] + 1), array
        else:
            note = f"{where}: the classes {names[0]} to {names[-1]} became 0 to {len(names) - 1}"
        if aim is None and not note:
            note = f"{where} holds few whole numbers, taken as classes; with --loss mse they are numbers"
    values = torch.from_numpy(np.ascontiguousarray(numbers, np.int64).reshape(array.shape))
    return Targets(values, "classes", tuple(str(name) for name in names), note)


def counts_of(targets: Tensor, classes: Sequence[str]) -> dict[str, int]:
    """Return how many targets, of shape (rows,) or (rows, ...), each class has.

    >>> counts_of(torch.tensor([1, 0, 1]), ("no", "yes"))
    {'no': 1, 'yes': 2}
    """
    return {name: int((targets == number).sum()) for number, name in enumerate(classes)}
