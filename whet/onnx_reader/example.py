"""Example inputs: the user's, checked against the file, or made from the file's shapes and types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import LiftError
from whet.onnx_reader.graph import Port
from whet.onnx_reader.values import DTYPES, MOST_ELEMENTS, type_name

BATCH = 2
"""The batch of an example where the file leaves it free."""


def example_for(
    ports: Sequence[Port], given: Tensor | Iterable[Tensor] | None, path: Path, free: int = BATCH
) -> tuple[Tensor, ...]:
    """Return one tensor an input: those given, which must fit, or new ones, with `free` rows where the batch is free.

    Raises: LiftError for an example that does not fit, or where the file leaves more free than the batch.
    """
    for port in ports:
        if port.code not in DTYPES:
            kind = type_name(port.code) if port.code else "a sequence, an optional or a map"
            raise LiftError(f"'{path}': input '{port.name}' is {kind}; inputs must be tensors of types that torch has.")
    if given is None:
        return _made(ports, path, free)
    values = (given,) if isinstance(given, Tensor) else tuple(given)
    if len(values) != len(ports):
        names = ", ".join(port.name for port in ports)
        raise LiftError(f"'{path}' has {len(ports)} inputs ({names}); the example has {len(values)}.")
    for port, value in zip(ports, values):
        _check(port, value, path)
    return values


def _check(port: Port, value: Any, path: Path) -> None:
    if not isinstance(value, Tensor):
        raise LiftError(f"'{path}': the example for input '{port.name}' must be a tensor; got {type(value).__name__}.")
    wanted = DTYPES[port.code]
    if value.dtype != wanted:
        raise LiftError(f"'{path}': input '{port.name}' is of {wanted}; the example is of {value.dtype}.")
    if port.dims is None:
        return
    # Dimension 0 is the batch: lift checks whether the network takes another one than the file states.
    fits = len(port.dims) == value.dim() and all(
        not isinstance(dim, int) or dim == size for dim, size in list(zip(port.dims, value.shape))[1:]
    )
    if not fits:
        shape = ", ".join("?" if dim is None else str(dim) for dim in port.dims)
        raise LiftError(
            f"'{path}': input '{port.name}' has the shape ({shape}); the example's is {tuple(value.shape)}."
        )


def _made(ports: Sequence[Port], path: Path, free: int) -> tuple[Tensor, ...]:
    batch = next((port.dims[0] for port in ports if port.dims and isinstance(port.dims[0], str)), None)
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(DTYPES[port.code], _sizes(port, batch, path, free), generator) for port in ports)


def _sizes(port: Port, batch: int | str | None, path: Path, free: int) -> list[int]:
    """Return the sizes of an example: stated ones, and the batch where a dimension is free under its name."""
    if port.dims is None:
        raise LiftError(f"'{path}': input '{port.name}' has no shape in the file; give an example input.")
    sizes = []
    for position, dim in enumerate(port.dims):
        if isinstance(dim, int) and dim > 0:
            sizes.append(dim)
        elif position == 0 or (dim is not None and dim == batch):
            sizes.append(free)
        else:
            named = f"'{dim}'" if isinstance(dim, str) else "without a name"
            raise LiftError(
                f"'{path}': dimension {position} of input '{port.name}' is free ({named}); give an example input."
            )
    if math.prod(sizes) > MOST_ELEMENTS:
        raise LiftError(f"'{path}': input '{port.name}' of shape {sizes} is too large; give an example input.")
    return sizes


def _tensor(dtype: torch.dtype, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return floats from the normal distribution, or ones and zeros in turn: valid as tokens and as a mask."""
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(*sizes, generator=generator, dtype=torch.float32).to(dtype)
    turns = 1 - torch.arange(math.prod(sizes)) % 2
    return turns.reshape(list(sizes)).to(dtype)
