"""What a model file takes: names, types and sizes of its inputs, and the sizes that it leaves free."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.core.errors import TargetError, unknown
from whet.core.target import Array

Dim = int | str | None
"""A size, the name of a free one, or None for a free one without a name."""

BATCH = "batch"
BATCH_NAME = re.compile(r"(.*[^a-z])?(batch|batchsize|bs|n|b)([^a-z].*)?", re.IGNORECASE)
LENGTH_NAME = re.compile(r".*(seq|len|time|frame|sample|token|step|height|width|channel|dim_[1-9]).*", re.IGNORECASE)
"""Names that say of dimension 0 that it is no batch."""

MOST_ELEMENTS = 1 << 31


@dataclass(frozen=True)
class FileInput:
    """An input of a model file."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[Dim, ...]


def is_batch(dim: Dim, position: int, all_dims: Iterable[tuple[Dim, ...]] = ()) -> bool:
    """Say whether a free dimension is the batch, by its name, or by its place where its name says nothing.

    >>> is_batch("batch_size", 1), is_batch("unk__214", 0), is_batch(None, 0), is_batch("sequence_length", 0)
    (True, True, True, False)
    >>> is_batch("N", 1), is_batch("samples", 1), is_batch(None, 1), is_batch(3, 0)
    (True, False, False, False)
    """
    if isinstance(dim, int):
        return False
    if dim is not None and BATCH_NAME.fullmatch(dim):
        return True
    if position == 0:
        return dim is None or not LENGTH_NAME.fullmatch(dim)
    # Another input has the same name in dimension 0.
    return dim is not None and any(d and d[0] == dim and is_batch(dim, 0) for d in all_dims)


def static_shapes(
    inputs: Sequence[FileInput], batch: int, given: Mapping[str, Sequence[int]] | None = None,
    recorded: Mapping[str, Sequence[Dim]] | None = None, what: str = "the file",
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Return the sizes of every input: those given, the batch, and those that the file has on record.

    Raises: TargetError for a name or a shape that does not fit, and where a size is left that nothing tells: the
    error prints the option to give.
    """
    given, recorded = given or {}, recorded or {}
    names = _named(inputs, given, what)
    all_dims = [port.dims for port in inputs]
    shapes: dict[str, list[int | None]] = {}
    for port in inputs:
        note = recorded.get(port.name, ())
        note = note if len(note) == len(port.dims) else [None] * len(port.dims)
        own = given.get(port.name)
        shapes[port.name] = list(own) if own is not None else [
            _size(dim, names, batch if is_batch(dim, i, all_dims) else None, note[i]) for i, dim in enumerate(port.dims)
        ]  # fmt: skip
    open_ones = [port for port in inputs if None in shapes[port.name]]
    if open_ones:
        raise TargetError(_what_to_give(open_ones, shapes, what))
    return {name: tuple(size for size in sizes if size is not None) for name, sizes in shapes.items()}


def _size(dim: Dim, names: Mapping[str, int], batch: int | None, note: Dim) -> int | None:
    if isinstance(dim, int):
        return dim
    if dim in names:
        return names[str(dim)]
    if batch is not None:
        return batch
    return note if isinstance(note, int) else None


def _named(inputs: Sequence[FileInput], given: Mapping[str, Sequence[int]], what: str) -> dict[str, int]:
    """Return the sizes of named dimensions that given shapes tell, once the shapes are known to fit."""
    ports = {port.name: port for port in inputs}
    names: dict[str, int] = {}
    for name, shape in given.items():
        if name not in ports:
            raise unknown(f"input of {what}", name, ports)
        dims = ports[name].dims
        fits = len(dims) == len(shape) and all(not isinstance(d, int) or d == s for d, s in zip(dims, shape))
        agrees = fits and all(names.setdefault(d, s) == s for d, s in zip(dims, shape) if isinstance(d, str))
        if not agrees:
            wanted = shape_text(dims) or "no dimension"
            raise TargetError(f"{what}: input '{name}' is {wanted}; got {shape_text(shape) or 'no dimension'}.")
    return names


def fixed_batch(inputs: Sequence[FileInput]) -> int | None:
    """Return the first size of all inputs where the file fixes it to the same number, and None where it does not.

    A file that leaves the batch free in another place, (steps, batch, features), fixes no batch.

    >>> fixed_batch([FileInput("x", np.dtype("f4"), (24, 6))])
    24
    >>> fixed_batch([FileInput("x", np.dtype("f4"), (24, BATCH))])
    """
    all_dims = [port.dims for port in inputs]
    if any(is_batch(dim, i, all_dims) for dims in all_dims for i, dim in enumerate(dims)):
        return None
    first = {dims[0] for dims in all_dims if dims}
    only = first.pop() if len(first) == 1 else None
    return only if isinstance(only, int) else None


def named_sizes(inputs: Sequence[FileInput], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the size of each dimension that the file has a name for."""
    pairs = [pair for port in inputs for pair in zip(port.dims, shapes[port.name])]
    return {dim: size for dim, size in pairs if isinstance(dim, str)}


def shape_text(dims: Sequence[Dim]) -> str:
    """Return sizes as the command line takes them.

    >>> shape_text([1, "batch", None])
    '1xbatchx?'
    """
    return "x".join("?" if dim is None else str(dim) for dim in dims)


def _what_to_give(ports: Sequence[FileInput], shapes: Mapping[str, Sequence[int | None]], what: str) -> str:
    """Say which dimensions are free and how to give them, with a letter or its name for each that is missing."""
    free, options = [], []
    for port in ports:
        sizes: list[Dim] = []
        for i, (dim, size) in enumerate(zip(port.dims, shapes[port.name])):
            sizes.append(size if size is not None else "SIZE")
            if size is None:
                free.append(f"dimension {i}" + (f" ('{dim}')" if dim else "") + f" of input '{port.name}'")
        options.append(f"--shape '{port.name}={shape_text(sizes)}'")
    are = "is" if len(free) == 1 else "are"
    return f"{what}: {', '.join(free)} {are} free; give {' '.join(options)} with a number for each SIZE."


def example_arrays(
    inputs: Sequence[FileInput], shapes: Mapping[str, Sequence[int]], fixed: Mapping[str, float] | None = None,
    what: str = "the file",
) -> dict[str, Array]:  # fmt: skip
    """Return an array for every input: random floats, ones and zeros in turn (valid as tokens and as a mask).

    `shapes` are by name; `fixed` gives inputs that steer a network their value, in every element.
    """
    fixed, rng = fixed or {}, np.random.default_rng(0)
    for name in fixed:
        if name not in {port.name for port in inputs}:
            raise unknown(f"input of {what}", name, [port.name for port in inputs])
    found: dict[str, Array] = {}
    for port in inputs:
        shape = tuple(shapes[port.name])
        count = math.prod(shape)
        if count > MOST_ELEMENTS:
            raise TargetError(f"{what}: input '{port.name}' of shape {shape} is too large.")
        if port.name in fixed:
            found[port.name] = np.full(shape, fixed[port.name], port.dtype)
        elif port.dtype == object:
            found[port.name] = np.full(shape, "", object)
        elif port.dtype.kind in "iub":
            found[port.name] = (1 - np.arange(count) % 2).reshape(shape).astype(port.dtype)
        else:
            found[port.name] = rng.standard_normal(shape).astype(np.float32).astype(port.dtype)
    return found
