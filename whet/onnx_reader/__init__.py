"""Reading any ONNX file as a torch module with named layers, which `whet.lift` makes a `Net` of.

`read(path, example)` is the entry. In the order of reading: `load` (the file, its limits), `outputs` (which of them
count), `graph` (steps with unique names), `fold` (what depends on no input), `unquantize` (the float network of a
quantised one), `patterns` (layers spelled out), `layers` (operators with constant weights become `nn` modules),
`module` (what runs). The operator table is in `operators`, one row an operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.core.errors import LiftError
from whet.onnx_reader.example import example_for
from whet.onnx_reader.graph import ports_of, read_graph
from whet.onnx_reader.load import load
from whet.onnx_reader.module import OnnxModule, build
from whet.onnx_reader.outputs import keep_floats

__all__ = ["OnnxModule", "example_of", "read"]

TOLERANCE = 1e-4


def read(path: str | Path, example: Tensor | Iterable[Tensor] | None = None) -> tuple[OnnxModule, tuple[Tensor, ...]]:
    """Return the network of an ONNX file and example inputs, after running it on them once.

    `example` holds one tensor an input; without it, one is made from the file's shapes and types: a free dimension 0
    is the batch and gets the size 2, any other free dimension needs the user's example. A batch that the file fixes
    is freed where the rows of a batch do not depend on each other. Outputs of whole numbers beside floats (a label
    beside its probabilities) are left out.

    Raises: LiftError, naming the file, and the node where there is one, for whatever cannot be read.
    """
    path = Path(path)
    try:
        file = load(path)
        keep_floats(file.model)
        graph = read_graph(file.model, file.weights, f"'{path}'")
        del file
        module = build(graph, f"'{path}'")
        inputs = example_for(module.ports, example, path)
        _try(module, inputs)
    except LiftError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"'{path}': {error}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # What is left is a file that breaks the standard where nobody thought of: no shape, no input, odd bytes.
        raise LiftError(f"'{path}' is damaged: {type(error).__name__}: {error}") from error
    return module, inputs


def example_of(path: str | Path) -> tuple[Tensor, ...]:
    """Return one sample for a file that is served as it is, whether its operators are read here or not.

    Raises: LiftError where the file is damaged, or leaves more free than the batch.
    """
    path = Path(path)
    file = load(path)
    return example_for(ports_of(file.model, file.weights), None, path, free=1)


@torch.no_grad()
def _try(module: OnnxModule, inputs: tuple[Tensor, ...]) -> None:
    """Run the network once; where the file fixes the batch, also on two batches at once, which must not mix."""
    first, fixed = _first(module(*inputs)), module.program.batch
    if fixed is None or not inputs or first is None or first.dim() == 0 or inputs[0].shape[0] != fixed:
        return
    # The same numbers in another order are valid inputs too, tokens and masks among them.
    others = tuple(value.flip(tuple(range(value.dim()))) for value in inputs)
    other = _first(module(*others))
    try:
        both = _first(module(*(torch.cat([a, b]) for a, b in zip(inputs, others))))
    except LiftError as error:
        raise type(error)(f"its batch is fixed to {fixed}, and two examples at once do not run: {error}") from error
    if both is None or other is None or not _same(both, torch.cat([first, other])):
        raise LiftError(
            f"its batch is fixed to {fixed} in a way that cannot be undone: two examples at once give something else "
            "than one after the other. Write the file with a free batch."
        )


def _first(found: Any) -> Tensor | None:
    values = found if isinstance(found, tuple | list) else (found,)
    return next((value for value in values if isinstance(value, Tensor)), None)


def _same(found: Tensor, wanted: Tensor) -> bool:
    """Say whether two tensors agree, undefined numbers included."""
    if found.shape != wanted.shape:
        return False
    return torch.allclose(found.double(), wanted.double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
