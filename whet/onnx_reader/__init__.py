"""Reading any ONNX file as a torch module with named layers, which `whet.lift` makes a `Net` of.

`read(path, example)` is the entry. In the order of reading: `load` (the file, its limits), `outputs` (which of them
count), `graph` (steps with unique names), `fold` (what depends on no input), `unquantize` (the float network of a
quantised one), `patterns` (layers spelled out), `layers` (operators with constant weights become `nn` modules),
`module` (what runs). The operator table is in `operators`, one row an operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import LiftError, WhetError
from whet.onnx_reader.example import batch_axes, example_for, fixed_inputs
from whet.onnx_reader.graph import read_graph
from whet.onnx_reader.load import load
from whet.onnx_reader.module import OnnxModule, build
from whet.onnx_reader.outputs import leave_out_unread

__all__ = ["OnnxModule", "read"]

TOLERANCE = 1e-4


def read(
    path: str | Path,
    example: Tensor | Iterable[Tensor] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> tuple[OnnxModule, tuple[Tensor, ...]]:
    """Return the network of an ONNX file and example inputs, after running it on them once.

    `example` holds one tensor an input; without it, one is made from the file's shapes and types: the batch, told by
    its name or its place in dimension 0, gets the size 2; any other free dimension needs `shapes`, sizes by the
    input's name, in the file's layout. `fixed` gives inputs that are the same in every call (a sampling rate) their
    value, by name: they are inputs no longer, and what they steer is decided. A batch that the file fixes is freed
    where the rows of a batch do not depend on each other. Outputs that need operators which are not read (a label
    beside its probabilities) are left out, and `module.notes` says so.

    Raises: LiftError, naming the file, and the node where there is one, for whatever cannot be read.
    """
    path = Path(path)
    try:
        file = load(path)
        notes = leave_out_unread(file.model)
        for name, value in fixed_inputs(file.model, file.weights, fixed or {}).items():
            file.weights[name] = value
        graph = read_graph(file.model, file.weights, f"'{path}'")
        names = [output.name for output in file.model.graph.output]
        del file
        axes = batch_axes(graph.ports, shapes or {})
        module = build(graph, f"'{path}'", axes, names, notes)
        inputs = example_for(module.ports, axes, example, path, shapes or {})
        _try(module, inputs)
    except WhetError as error:
        if str(path) in str(error) and isinstance(error, LiftError):
            raise
        kind = type(error) if isinstance(error, LiftError) else LiftError
        raise kind(str(error) if str(path) in str(error) else f"'{path}': {error}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # What is left is a file that breaks the standard where nobody thought of: no shape, no input, odd bytes.
        raise LiftError(f"'{path}' is damaged: {type(error).__name__}: {error}") from error
    return module, inputs


@torch.no_grad()
def _try(module: OnnxModule, inputs: tuple[Tensor, ...]) -> None:
    """Run the network once; where the file fixes the batch, also on two batches at once, which must not mix."""
    first, fixed, axes = _tensors(module(*inputs)), module.program.batch, module.batch_axes
    sizes = [x.shape[axis] for x, axis in zip(inputs, axes) if axis is not None]
    if fixed is None or not sizes or not first or sizes[0] != fixed:
        return
    # The same numbers in another order are valid inputs too, tokens and masks among them.
    others = tuple(x if axis is None else x.flip(tuple(range(x.dim()))) for x, axis in zip(inputs, axes))
    other = _tensors(module(*others))
    twice = [a if axis is None else torch.cat([a, b], axis) for a, b, axis in zip(inputs, others, axes)]
    try:
        both = _tensors(module(*twice))
    except LiftError as error:
        raise type(error)(f"its batch is fixed to {fixed}, and two examples at once do not run: {error}") from error
    if not all(_joined(c, a, b) for a, b, c in zip(first, other, both, strict=True)):
        raise LiftError(
            f"its batch is fixed to {fixed} in a way that cannot be undone: two examples at once give something else "
            "than one after the other. Write the file with a free batch."
        )


def _tensors(found: Any) -> list[Tensor]:
    values = found if isinstance(found, tuple | list) else (found,)
    return [value for value in values if isinstance(value, Tensor)]


def _joined(both: Tensor, first: Tensor, other: Tensor) -> bool:
    """Say whether a tensor holds one and then the other along one of its axes, or is the same as each."""
    if _same(both, first) and _same(both, other):
        return True
    axes = [i for i, size in enumerate(first.shape) if both.dim() == first.dim() and both.shape[i] == 2 * size]
    return any(_same(both, torch.cat([first, other], axis)) for axis in axes)


def _same(found: Tensor, wanted: Tensor) -> bool:
    """Say whether two tensors agree, undefined numbers included."""
    if found.shape != wanted.shape:
        return False
    return torch.allclose(found.double(), wanted.double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
