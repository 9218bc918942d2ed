"""Example inputs: the user's, checked against the file, or made from the file's shapes and types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from whet.core.errors import LiftError, TargetError, unknown
from whet.graph.file_inputs import FileInput, is_batch, static_shapes
from whet.onnx_reader.graph import Port, ports_of
from whet.onnx_reader.values import DTYPES, MOST_ELEMENTS, Array, numpy_dtype, type_name

BATCH = 2
"""The batch of an example where the file leaves it free."""

Axis = int | None


def batch_axes(ports: Sequence[Port], shapes: Mapping[str, Sequence[int]]) -> tuple[Axis, ...]:
    """Return where the batch lies in each input: its free dimension that is called so, or dimension 0.

    A free dimension without a name is the batch too where the size that `shapes` gives it is the batch's. Where the
    file leaves no batch free, the first size of the first input is the batch, in dimension 0 or where else it stands
    alone. None for inputs without a batch.
    """
    dims = [port.dims or () for port in ports]
    named = [next((i for i, d in enumerate(own) if is_batch(d, i, dims)), None) for own in dims]
    if all(axis is None for axis in named):
        first = next((own[0] for own in dims if own), None)
        return tuple(_where(own, first) if isinstance(first, int) else None for own in dims)
    given = {shapes[p.name][a] for p, a in zip(ports, named) if a is not None and a < len(shapes.get(p.name, ()))}
    for i, port in enumerate(ports):
        sizes = shapes.get(port.name, ())
        free = [k for k, d in enumerate(dims[i]) if d is None and k < len(sizes) and {sizes[k]} == given]
        if named[i] is None and len(free) == 1:
            named[i] = free[0]
    return tuple(named)


def _where(dims: Sequence[Any], batch: int) -> Axis:
    places = [i for i, dim in enumerate(dims) if dim == batch]
    return places[0] if places[:1] == [0] or len(places) == 1 else None


def fixed_inputs(model: onnx.ModelProto, known: Mapping[str, Array], values: Mapping[str, float]) -> dict[str, Array]:
    """Return what `values` makes of inputs that never change: constants of the input's type and shape.

    Raises: LiftError for an input whose shape is free; UnknownNameError for one that is not there.
    """
    ports = {port.name: port for port in ports_of(model, known)}
    found = {}
    for name, value in values.items():
        if name not in ports:
            raise unknown("input", name, ports)
        dims = ports[name].dims
        sizes = [dim for dim in dims or () if isinstance(dim, int)]
        if dims is None or len(sizes) != len(dims):
            raise LiftError(f"input '{name}' cannot be fixed: its shape is free.")
        found[name] = np.full(sizes, value, numpy_dtype(ports[name].code))
    return found


def example_for(
    ports: Sequence[Port],
    axes: Sequence[Axis],
    given: Tensor | Iterable[Tensor] | None,
    path: Path,
    shapes: Mapping[str, Sequence[int]],
) -> tuple[Tensor, ...]:
    """Return one tensor an input: those given, which must fit, or new ones, with two rows where the batch is free.

    New ones have the shapes that the file and `shapes` say.
    Raises: LiftError for an example that does not fit, or where the file leaves more free than the batch.
    """
    for port in ports:
        if port.code not in DTYPES:
            kind = type_name(port.code) if port.code else "a sequence, an optional or a map"
            raise LiftError(f"'{path}': input '{port.name}' is {kind}; inputs must be tensors of types that torch has.")
    if given is None:
        return _made(ports, axes, path, shapes)
    values = (given,) if isinstance(given, Tensor) else tuple(given)
    if len(values) != len(ports):
        names = ", ".join(port.name for port in ports)
        raise LiftError(f"'{path}' has {len(ports)} inputs ({names}); the example has {len(values)}.")
    for port, value, axis in zip(ports, values, axes):
        _check(port, value, axis, path)
    return values


def _check(port: Port, value: Any, axis: Axis, path: Path) -> None:
    if not isinstance(value, Tensor):
        raise LiftError(f"'{path}': the example for input '{port.name}' must be a tensor; got {type(value).__name__}.")
    wanted = DTYPES[port.code]
    if value.dtype != wanted:
        raise LiftError(f"'{path}': input '{port.name}' is of {wanted}; the example is of {value.dtype}.")
    if port.dims is None:
        return
    # Lift checks whether the network takes another batch than the file states.
    pairs = list(enumerate(zip(port.dims, value.shape)))
    fits = len(port.dims) == value.dim() and all(
        not isinstance(dim, int) or dim == size or i == axis for i, (dim, size) in pairs
    )
    if not fits:
        shape = ", ".join("?" if dim is None else str(dim) for dim in port.dims)
        raise LiftError(
            f"'{path}': input '{port.name}' has the shape ({shape}); the example's is {tuple(value.shape)}."
        )


def _made(
    ports: Sequence[Port], axes: Sequence[Axis], path: Path, shapes: Mapping[str, Sequence[int]]
) -> tuple[Tensor, ...]:
    inputs = []
    for port in ports:
        if port.dims is None:
            raise LiftError(f"'{path}': input '{port.name}' has no shape in the file; give an example input.")
        inputs.append(FileInput(port.name, numpy_dtype(port.code), port.dims))
    try:
        sizes = static_shapes(inputs, 1, shapes, what=f"'{path}'")
    except TargetError as error:
        raise LiftError(f"{error} From Python: give an example input.") from error
    generator = torch.Generator().manual_seed(0)
    found = []
    for port, axis in zip(ports, axes):
        own = list(sizes[port.name])
        if axis is not None and port.dims is not None and not isinstance(port.dims[axis], int):
            own[axis] = max(BATCH, own[axis])
        if math.prod(own) > MOST_ELEMENTS:
            raise LiftError(f"'{path}': input '{port.name}' of shape {own} is too large; give an example input.")
        found.append(_tensor(DTYPES[port.code], own, generator))
    return tuple(found)


def _tensor(dtype: torch.dtype, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return floats from the normal distribution, or ones and zeros in turn: valid as tokens and as a mask."""
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(*sizes, generator=generator, dtype=torch.float32).to(dtype)
    turns = 1 - torch.arange(math.prod(sizes)) % 2
    return turns.reshape(list(sizes)).to(dtype)
