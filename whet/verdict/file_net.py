"""A model file as a `Net` whose one layer is the runtime, so that data and metrics fit it as they fit a network."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from whet.core.errors import TargetError
from whet.core.net import Net, Port
from whet.core.target import Array, Artifact, Session, Target
from whet.graph.file_inputs import FileInput, example_arrays, fixed_batch, is_batch, static_shapes
from whet.hardware.cpu import read_onnx
from whet.hardware.openvino import inputs_of_file
from whet.verify.equivalence import evaluate

BATCH = 64
"""How many samples are run at a time where the file leaves that open."""
ROWS = 2, 3
"""Two batches that tell along which axis of an output the samples lie."""

Shapes = Mapping[str, Sequence[int]]
Open = Callable[[int, Shapes], Session]


class Runtime(nn.Module):
    """Runs samples, inputs `(rows, ...)` each, by a function that calls a runtime."""

    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        self.run = run

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the file gives: a tensor `(rows, ...)`, or a tuple of them."""
        return self.run(*inputs)


def file_net(artifact: Artifact, target: Target, shapes: Shapes | None = None) -> Net:
    """Return an ONNX file, or OpenVINO's own format, as a net that runs it in its runtime, on all samples it is given.

    Along which axis samples lie is told of inputs by the names of their free dimensions, of outputs by running the
    file with two and with three samples. Where the file fixes the batch, so many samples are run at a time.

    Raises: ArtifactError for a file that is missing or damaged, TargetError for one that the runtime does not run.
    """
    ports, recorded = inputs_of_file(artifact.path)
    what, batch = f"'{artifact.path}'", batch_of(artifact.path)
    opened: Open = partial(target.open, artifact)
    sized = {n: static_shapes(ports, n, shapes, recorded, what) for n in ((batch,) if batch else ROWS)}
    examples = {n: list(example_arrays(ports, sizes, what=what).values()) for n, sizes in sized.items()}
    found = {n: _results(opened(n, sized[n])(*arrays)) for n, arrays in examples.items()}
    inputs = tuple(Port(port.name, _axis(port, [p.dims for p in ports])) for port in ports)
    outputs = _outputs(_names(artifact.path, len(next(iter(found.values())))), found)
    first = next(iter(examples))
    tensors = tuple(torch.from_numpy(array) for array in examples[first])
    example = tuple(port.inside(x, first) for port, x in zip(inputs, tensors, strict=True))
    net = Net(_graph(len(inputs), len(outputs)), example, artifact.path.stem, inputs, outputs)
    run = lambda *given: evaluate(opened, [(given, torch.zeros(1))], batch or BATCH, net)[0]  # noqa: E731
    net.module.add_module("file", Runtime(run))
    return net


def batch_of(path: Path) -> int | None:
    """Return how many samples a call a file takes, None where it leaves that open."""
    return fixed_batch(inputs_of_file(path)[0])


def _results(found: Any) -> tuple[Array, ...]:
    results = found if isinstance(found, tuple) else (found,)
    if not all(isinstance(value, np.ndarray) for value in results):
        raise TargetError("the file gives something else than tensors, which no metric here takes.")
    return results


def _axis(port: FileInput, dims: Sequence[Any]) -> int | None:
    """Return along which axis of an input samples lie; None for a scalar."""
    named = next((i for i, dim in enumerate(port.dims) if is_batch(dim, i, dims)), None)
    return named if named is not None else 0 if port.dims else None


def _names(path: Path, count: int) -> list[str]:
    if path.suffix == ".xml":
        return [f"output_{i}" for i in range(count)]
    return [value.name for value in read_onnx(path).graph.output]


def _outputs(names: Sequence[str], found: Mapping[int, tuple[Array, ...]]) -> tuple[Port, ...]:
    """Return where samples lie in outputs, by their shapes for one or two numbers of samples."""
    return tuple(_output(name, {n: arrays[i].shape for n, arrays in found.items()}) for i, name in enumerate(names))


def _output(name: str, shapes: Mapping[int, tuple[int, ...]]) -> Port:
    dims = range(min(map(len, shapes.values())))
    axis = next((i for i in dims if all(shape[i] == n for n, shape in shapes.items())), None)
    several = bool(dims) and all(shape[0] and shape[0] % n == 0 for n, shape in shapes.items())
    entries = {shape[0] // n for n, shape in shapes.items()} if several else set[int]()
    if axis is None and len(entries) == 1:
        return Port(name, folded=True)
    return Port(name, axis)


def _graph(inputs: int, outputs: int) -> fx.GraphModule:
    graph = fx.Graph()
    given = tuple(graph.placeholder(f"input_{i}") for i in range(inputs))
    found = graph.call_module("file", given)
    results = [graph.call_function(operator.getitem, (found, i)) for i in range(outputs)] if outputs > 1 else []
    graph.output(tuple(results) if results else found)
    return fx.GraphModule({"file": nn.Identity()}, graph)
