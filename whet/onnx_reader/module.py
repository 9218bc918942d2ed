"""`OnnxModule`: an ONNX graph as a torch module that `torch.export` can trace."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from whet.core.errors import LiftError
from whet.graph.calls import identifiers
from whet.onnx_reader.fold import Folded, Quantization, check_operators, drop_unread, fold, prune
from whet.onnx_reader.graph import Body, Graph, Port
from whet.onnx_reader.layers import Parameters, is_float, make_layers
from whet.onnx_reader.names import GENERATED, STORED, Places, dotted
from whet.onnx_reader.operators import TABLE
from whet.onnx_reader.patterns import find_patterns
from whet.onnx_reader.run import Runner
from whet.onnx_reader.unquantize import unquantize
from whet.onnx_reader.values import Value, fits_torch, is_host, tensor

MASKED = -1e30
"""A tensor with a number as low as this hides something: it is a mask, and nobody trains it."""


@dataclass
class Program:
    """What the module runs: its steps, its constants on the host, and where its tensors lie in it, by name."""

    body: Body
    host: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    spent: dict[int, list[str]] = field(default_factory=dict)
    batch: int | None = None


class OnnxModule(nn.Module):
    """Runs an ONNX graph; made by `build`.

    Convolutions, linear layers, norms, embeddings, recurrent layers and dropouts with constant weights are `nn`
    modules named after the file's tensors or nodes; other named float constants are parameters, the rest buffers.
    Inputs come in the order of the graph; one output is returned alone, several as a tuple.

    A quantised file is read as its float network. What it decided is kept in `quantization`: for each weight
    (`layer.weight`) and each rounded activation (by its name in the file) the integer type, scales, zero points, axis
    and block size.

    `ports` are the file's inputs, `batch_axes` where the batch lies in each, `output_names` what it calls its outputs,
    `notes` what had to be done to the file. Raises: LiftError, naming the node that cannot run and why.
    """

    program: Program
    ports: tuple[Port, ...]
    batch_axes: tuple[int | None, ...]
    output_names: tuple[str, ...]
    quantization: dict[str, Quantization]
    notes: tuple[str, ...]

    def run(self, inputs: Sequence[Value]) -> Any:
        """Return the outputs for one tensor an input, in the order of `ports`; one alone, several as a tuple.

        Raises: LiftError for another number of inputs, and naming the node that fails.
        """
        program = self.program
        if len(inputs) != len(program.body.inputs):
            raise LiftError(f"the network has {len(program.body.inputs)} inputs; {len(inputs)} were given.")
        values: dict[str, Value] = dict(program.host)
        values.update((name, self._tensor(place)) for name, place in program.tensors.items())
        values.update(zip(program.body.inputs, inputs))
        Runner(self.get_submodule, self._batch(inputs)).steps(program.body.steps, values, program.spent)
        results = tuple(_given(values[name]) for name in program.body.outputs)
        return results[0] if len(results) == 1 else results

    @property
    def free_names(self) -> list[dict[int, str]]:
        """What the file calls the axes of each input that it leaves free, beside the batch."""
        found: list[dict[int, str]] = []
        for port, batch in zip(self.ports, self.batch_axes):
            free = [(i, dim) for i, dim in enumerate(port.dims or ()) if i != batch and not isinstance(dim, int)]
            found.append({i: dim or f"{port.name}_{i}" for i, dim in free})
        return found

    def _batch(self, inputs: Sequence[Value]) -> int | None:
        """Return the batch that the file fixes, where the real one is another."""
        fixed = self.program.batch
        pairs = [(value, axis) for value, axis in zip(inputs, self.batch_axes) if axis is not None]
        sizes = [value.shape[axis] for value, axis in pairs if isinstance(value, Tensor) and value.dim()]
        return None if fixed is None or not sizes or (isinstance(sizes[0], int) and sizes[0] == fixed) else fixed

    def _tensor(self, place: str) -> Tensor:
        owner, _, leaf = place.rpartition(".")
        found: Tensor = getattr(self.get_submodule(owner), leaf)
        return found


def _given(value: Value) -> Value:
    """Return an output as tensors; a sequence stays one."""
    if isinstance(value, list):
        return [_given(item) for item in value]
    return value if value is None or (is_host(value) and not fits_torch(value)) else tensor(value)


def _class_for(names: Sequence[str]) -> type[OnnxModule]:
    """Return a class whose `forward` has the file's inputs as parameters: torch.export names its inputs after them."""

    def forward(self: OnnxModule, *inputs: Value) -> Any:
        return self.run(inputs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *identifiers(names))]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made = type("OnnxModule", (OnnxModule,), {"forward": forward, "__doc__": OnnxModule.__doc__})
    return cast("type[OnnxModule]", made)


# -- building ------------------------------------------------------------------------------------------------------


def build(
    graph: Graph, where: str, axes: tuple[int | None, ...], outputs: Sequence[str], notes: tuple[str, ...] = ()
) -> OnnxModule:
    """Return the module of a graph, in eval mode.

    Raises: NotRead naming the operators without a row; LiftError for a node that cannot be computed.
    """
    folded = fold(graph)
    activations = unquantize(folded)
    _tidy(folded)
    check_operators(graph.body, where)
    find_patterns(folded)
    _tidy(folded)
    module = _class_for(graph.body.inputs)()
    module.ports = tuple(graph.ports)
    places, parameters = Places(module), Parameters()
    module.batch_axes, module.output_names, module.notes = axes, tuple(outputs), notes
    module.program = Program(graph.body, batch=_fixed_batch(graph.ports, axes))
    module.quantization = dict(activations)
    module.quantization.update(make_layers(folded, places, parameters))
    drop_unread(graph)
    _place_constants(folded, module, places, parameters)
    module.program.spent = _spent(graph.body)
    return module.eval()


def _tidy(folded: Folded) -> None:
    folded.graph.body.steps = prune(folded.graph.body)
    drop_unread(folded.graph)


def _fixed_batch(ports: Sequence[Port], axes: Sequence[int | None]) -> int | None:
    """Return the size of the batch where the file fixes it, to the same number in all inputs that have one."""
    sizes = {port.dims[axis] if port.dims else None for port, axis in zip(ports, axes) if axis is not None}
    only = sizes.pop() if len(sizes) == 1 else None
    return only if isinstance(only, int) and only > 0 else None


def _spent(body: Body) -> dict[int, list[str]]:
    """Return which values nobody reads after each step, so that they can be let go."""
    last: dict[str, int] = {}
    for position, step in enumerate(body.steps):
        for name in (*step.read_names(), *step.outputs):
            last[name] = position
    found: dict[int, list[str]] = {}
    for name, position in last.items():
        if name and name not in body.outputs:
            found.setdefault(position, []).append(name)
    return found


# -- constants: known on the host, or tensors of the module --------------------------------------------------------

DATA = "@data"
"""Stands behind the name of a constant that a step reads as a tensor; by its plain name it is known on the host."""


def _place_constants(folded: Folded, module: OnnxModule, places: Places, parameters: Parameters) -> None:
    """Keep every constant where its readers want it: on the host, as a tensor of the module, or both."""
    graph = folded.graph
    trained = {name for name, value in graph.constants.items() if _is_trained(folded, name, value)}
    wanted: set[str] = set()
    _collect(graph, graph.body, set(graph.constants), trained, wanted)
    for name in sorted(wanted):
        value = graph.constants[name]
        place = places.free(dotted(STORED.sub("", folded.source(name))))
        places.put(place, parameters.of(value) if name in trained else tensor(np.array(value)))
        module.program.tensors[name + DATA] = place
    drop_unread(graph)
    module.program.host = dict(graph.constants)
    graph.constants = {}


def _is_trained(folded: Folded, name: str, value: Value) -> bool:
    """Say whether a constant is a parameter: a named float tensor that no note calls a buffer, and no mask."""
    source = folded.source(name)
    if not is_host(value) or not is_float(value) or value.ndim == 0 or source not in folded.graph.initializers:
        return False
    if GENERATED.fullmatch(STORED.sub("", source)) or {source, name} & folded.graph.buffers:
        return False
    return bool(np.isfinite(value).all() and (value > MASKED).all())


def _collect(graph: Graph, body: Body, outer: set[str], trained: set[str], wanted: set[str]) -> None:
    """Find the constants that steps read as data. Sizes of data are known, and what is computed of them alone."""
    known = set(outer)
    for step in body.steps:
        read = [(i, name) for i, name in enumerate(step.inputs) if name and i not in TABLE[step.op].known]
        arithmetic = any(name in known and name not in graph.constants for _, name in read)
        sized = step.read_names() <= known and (arithmetic or not any(name in trained for _, name in read))
        if sized or step.op in ("Shape", "Size"):
            known.update(name for name in step.outputs if name)
        else:
            for position, name in read:
                if _is_data(graph.constants.get(name), name in trained):
                    wanted.add(name)
                    step.inputs[position] = name + DATA
        for inner in step.bodies.values():
            _collect(graph, inner, known, trained, wanted)


def _is_data(value: Value, trained: bool) -> bool:
    """Say whether a constant is a tensor to an operator: one element alone that nobody trains is a plain number."""
    return is_host(value) and fits_torch(value) and (trained or value.size != 1)
