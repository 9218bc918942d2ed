"""Names, batches and free axes of a network's inputs and outputs, as its users and its file know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx
from torch.export import Dim

from whet.core.errors import LiftError, unknown
from whet.core.net import Port
from whet.graph.calls import Flat
from whet.graph.probe import Axes, Axis

FreeAxes = Mapping[str, Mapping[int, str] | Iterable[int]]
Free = list[dict[int, str]]
"""For each input the axes whose length is left open, and their names."""


def known_axes(module: Any, inputs: Flat) -> Axes:
    """Return where the batch lies if nobody says it: in dimension 0, in none of a scalar, or where an ONNX file has it.

    In such a file it is the open dimension of the name that opens the first input with an open dimension 0.
    """
    dims = _file_dims(module)
    if dims is None:
        return tuple(0 if value.dim() else None for value in inputs.tensors)
    openings = [d[0] for d in dims if d and not isinstance(d[0], int)]
    return tuple(_file_axis(each, openings) for each in dims)


def _file_axis(dims: Sequence[Any] | None, openings: Sequence[str | None]) -> Axis:
    if dims is None or (dims and not openings):
        return 0
    named = [i for i, dim in enumerate(dims) if isinstance(dim, str) and dim == openings[0]] if openings else []
    unnamed = [i for i, dim in enumerate(dims) if dim is None]
    return next(iter([*named, *unnamed]), None)


def free_of(module: Any, free_axes: FreeAxes | None, inputs: Flat, axes: Axes) -> tuple[Free, Any]:
    """Return the axes to leave open, and how torch.export is told so: those of a file where it can, others strictly.

    Raises: LiftError for an input or axis that is not there.
    """
    dims = _file_dims(module) or [None] * len(inputs.names)
    free: Free = [{i: d for i, d in enumerate(each or ()) if isinstance(d, str)} for each in dims]
    shapes: list[dict[int, Any]] = [dict.fromkeys(each, Dim.AUTO) for each in free]
    for name, given in (free_axes or {}).items():
        if name not in inputs.names:
            raise unknown("input in free_axes", name, inputs.names)
        place = inputs.names.index(name)
        rank = inputs.tensors[place].dim()
        for axis in given:
            if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
                raise LiftError(f"free_axes of input '{name}' names axis {axis!r}; it has {rank} dimensions.")
            label = str(given[axis]) if isinstance(given, Mapping) else f"{name}_{axis}"
            free[place][axis % rank], shapes[place][axis % rank] = label, Dim.DYNAMIC
    for each, shape, batch in zip(free, shapes, axes, strict=True):
        if batch is not None:
            each.pop(batch, None)
            shape[batch] = Dim.DYNAMIC
    return free, tuple(shapes)


def input_ports(module: Any, inputs: Flat, axes: Axes, free: Free, nodes: Sequence[fx.Node]) -> tuple[Port, ...]:
    """Return the ports of inputs; of the axes to leave open, those that torch.export has found free."""
    file = getattr(module, "ports", None)
    names = [port.name for port in file] if file else inputs.names
    left = [tuple((a, n) for a, n in sorted(each.items()) if _symbol(node, a)) for each, node in zip(free, nodes)]
    return tuple(map(Port, names, axes, left))


def output_ports(
    module: Any, result: Flat, axes: Axes, inputs: Sequence[Port], given: Sequence[fx.Node], found: Sequence[fx.Node]
) -> tuple[Port, ...]:
    """Return the ports of outputs; an open length that an input has too has its name."""
    program = getattr(module, "program", None)
    file = program.body.outputs if program is not None else ()
    names = file if len(file) == len(result.names) else result.names
    known = {_symbol(node, a): n for port, node in zip(inputs, given, strict=True) for a, n in port.free}
    ports = []
    for name, axis, value, node in zip(names, axes, result.tensors, found, strict=True):
        lengths = {d: _symbol(node, d) for d in range(value.dim()) if d != axis} if known else {}
        free = tuple((d, known.get(s, f"{name}_{d}")) for d, s in lengths.items() if s)
        ports.append(Port(name, axis, free))
    return tuple(ports)


def _symbol(node: fx.Node, axis: int) -> str:
    """Return the expression of a length that torch.export has left open, nothing for a fixed one."""
    value = node.meta.get("val")
    size = value.shape[axis] if isinstance(value, Tensor) else 0
    return "" if isinstance(size, int) else str(size)


def _file_dims(module: Any) -> list[Any] | None:
    ports = getattr(module, "ports", None)
    return [port.dims for port in ports] if ports else None
