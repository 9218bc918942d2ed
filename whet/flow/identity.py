"""What a study is about, in digests: another network's weights, other data or other code are told apart by them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import whet
from whet.core.net import Net
from whet.core.task import Task, length_of

LENGTH = 12
COLLECTIONS = ("train", "val", "test", "calibration")


def identity(net: Net, task: Task) -> dict[str, str]:
    """Return what a resumed study must find again: digests of the weights, of a sample of the data, and of the code."""
    data = {f"{name} data": described(getattr(task, name)) for name in COLLECTIONS}
    goal = f"{task.metric_name} ({_name(task.metric)}), {task.direction}, {task.drop} drop, loss {_name(task.loss)}"
    return {"weights": digest(net.module.state_dict()), **data, "metric": goal, "code": code()}


def described(collection: Any) -> str:
    """Return the number of batches, where it is known, and the digest of a sample.

    The sample is the first batch, or three items of the data set of a loader that has one. A collection that gives
    something else each time (shuffled, or augmented at random) is known by its length alone; one that can be read once
    only is not read.
    """
    if collection is None:
        return "none"
    length = "unknown length" if (count := length_of(collection)) is None else f"{count} batches"
    with torch.random.fork_rng(devices=[]):
        first, again = _sample(collection), _sample(collection)
    return f"{length}, {first if first == again else 'varying'}"


def _sample(collection: Any) -> str:
    source = getattr(collection, "dataset", None)
    if source is not None and hasattr(source, "__getitem__") and length_of(source):
        return f"{len(source)} items, {digest([source[i] for i in (0, len(source) // 2, len(source) - 1)])}"
    if isinstance(collection, Iterable) and iter(collection) is not collection:
        return digest(next(iter(collection), None))
    return "not read"


def digest(value: Any) -> str:
    """Return the first digits of the SHA-256 of a tree of tensors, arrays and plain values.

    >>> digest({"a": torch.zeros(2)}) == digest({"a": torch.zeros(2)}) != digest({"a": torch.zeros(2, 1)})
    True
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()[:LENGTH]


def _feed(into: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        into.update(f"{value.dtype}{tuple(value.shape)}".encode())
        with suppress(RuntimeError, TypeError):  # a tensor without dense memory is known by its shape
            into.update(value.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, np.ndarray):
        into.update(f"{value.dtype}{value.shape}".encode())
        into.update(np.ascontiguousarray(value).tobytes() if value.dtype != object else repr(value.tolist()).encode())
    elif isinstance(value, Mapping):
        for key in value:
            into.update(repr(key).encode())
            _feed(into, value[key])
    elif isinstance(value, list | tuple):
        into.update(f"{type(value).__name__}{len(value)}".encode())
        for item in value:
            _feed(into, item)
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(into, {f.name: getattr(value, f.name) for f in fields(value)})
    elif isinstance(value, str | bytes | int | float | bool | np.generic | None):
        into.update(repr(value).encode())
    else:
        into.update(type(value).__name__.encode())


def _name(item: Any) -> str:
    """Return the name of a function or, of an object that is called, of its class."""
    item = getattr(item, "func", item)  # of a partial
    return str(getattr(item, "__qualname__", type(item).__qualname__))


@cache
def code() -> str:
    """Return the version and a digest of the package's own source."""
    root = Path(whet.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{whet.__version__} ({found.hexdigest()[:LENGTH]})"
