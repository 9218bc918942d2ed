"""Names, batches and free axes of a network's inputs and outputs, as its users and its file know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx
from torch.export import Dim

from whet.core.errors import LiftError, unknown
from whet.core.net import Port
from whet.graph.calls import Flat
from whet.graph.probe import Axes

FreeAxes = Mapping[str, Mapping[int, str] | Iterable[int]]
OPEN = 1 << 31
"""A length with an upper bound below this was bounded by the network."""

Free = list[dict[int, str]]
"""For each input the axes whose length is left open, and their names."""


def known_axes(module: Any, inputs: Flat) -> Axes:
    """Return where the batch lies if nobody says it: where an ONNX file has it, else in dimension 0 of all tensors."""
    file: Axes | None = getattr(module, "batch_axes", None)
    return tuple(0 if value.dim() else None for value in inputs.tensors) if file is None else file


def free_of(module: Any, free_axes: FreeAxes | None, inputs: Flat, axes: Axes) -> tuple[Free, Any]:
    """Return the axes to leave open, and how torch.export is told so: those of a file where it can, others strictly.

    Raises: LiftError for an input or axis that is not there.
    """
    file: Free = getattr(module, "free_names", [{} for _ in inputs.names])
    free: Free = [dict(each) for each in file]
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
    file = getattr(module, "output_names", ())
    names = file if len(file) == len(result.names) else result.names
    known = {_symbol(node, a): n for port, node in zip(inputs, given, strict=True) for a, n in port.free}
    ports = []
    for name, axis, value, node in zip(names, axes, result.tensors, found, strict=True):
        lengths = {d: _symbol(node, d) for d in range(value.dim()) if d != axis} if known else {}
        free = tuple((d, known.get(s, f"{name}_{d}")) for d, s in lengths.items() if s)
        ports.append(Port(name, axis, free))
    return tuple(ports)


def _symbol(node: fx.Node, axis: int) -> str:
    """Return the expression of a length that torch.export has left open, nothing for a fixed one.

    One that a computation bounds (a size of eight after a division) is fixed too: any other goes wrong somewhere.
    """
    value = node.meta.get("val")
    size: Any = value.shape[axis] if isinstance(value, Tensor) else 0
    if isinstance(size, int) or size.node.shape_env.bound_sympy(size.node.expr).upper < OPEN:
        return ""
    return str(size)
