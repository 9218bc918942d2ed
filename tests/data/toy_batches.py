"""Batches that the tests of this folder share: rows, labels, and a task of them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

import whet

torch.manual_seed(0)
X, Y = torch.randn(24, 6), torch.randint(0, 4, (24,))


def make(batches: Any, **values: Any) -> whet.Task:
    given: dict[str, Any] = {"train": batches, "val": batches, "loss": F.cross_entropy, "metric": whet.accuracy}
    return whet.Task("t", **{**given, **values})


def cut(build: Any) -> list[Any]:
    return [build(X[i : i + 8], Y[i : i + 8]) for i in range(0, 24, 8)]
