"""Names, batches and free axes of a network's inputs and outputs, as its users and its file know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx
from torch.export import Dim

from whet.core.errors import LiftError, unknown
from whet.core.net import Port
from whet.graph.calls import Flat
from whet.graph.probe import FOLDED, Axes

FreeAxes = Mapping[str, Mapping[int, str] | Iterable[int]]
LEAST, OPEN = 2, 1 << 31
"""What torch.export takes an open length to be at least, and what no network bounds it by."""

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


def program_free(given: Free, names: Sequence[str], axes: Axes, nodes: Sequence[fx.Node]) -> tuple[Free, Any]:
    """Return the lengths that an exported program leaves open, under the names `given` or that of the first input."""
    known: dict[str, str] = {}
    free: Free = []
    for name, batch, each, node in zip(names, axes, given, nodes, strict=True):
        rank = node.meta["val"].dim()
        sizes = {a: str(_size(node, a)) for a in range(rank) if a != batch and _symbols(node, a)}
        free.append({a: each.get(a, known.setdefault(size, f"{name}_{a}")) for a, size in sizes.items()})
    return free, tuple(dict.fromkeys(each, Dim.DYNAMIC) for each in free)


def input_ports(
    module: Any, inputs: Flat, axes: Axes, free: Free, shapes: Any, nodes: Sequence[fx.Node]
) -> tuple[Port, ...]:
    """Return the ports of inputs; of the axes to leave open, those that torch.export has found free.

    A length of a file that a computation bounds (a size of eight after a division) is fixed: any other goes wrong
    somewhere. One that the user wants open may have a bound, as the number of positions of a text.
    """
    file = getattr(module, "ports", None)
    names = [port.name for port in file] if file else inputs.names
    ports = []
    for name, batch, each, shape, node in zip(names, axes, free, shapes, nodes, strict=True):
        strict = {a for a in each if shape[a] is Dim.DYNAMIC}
        left = {a for a in each if _symbols(node, a) and (a in strict or not _is_bounded(node, a))}
        ports.append(Port(name, batch, tuple((a, each[a]) for a in sorted(left))))
    return tuple(ports)


def output_ports(
    module: Any, result: Flat, axes: Axes, inputs: Sequence[Port], given: Sequence[fx.Node], found: Sequence[fx.Node]
) -> tuple[Port, ...]:
    """Return the ports of outputs; an open length that an input has too has its name."""
    file = getattr(module, "output_names", ())
    names = file if len(file) == len(result.names) else result.names
    known = {str(_size(node, a)): n for port, node in zip(inputs, given, strict=True) for a, n in port.free}
    open_: set[str] = set().union(
        *(_symbols(n, a) for port, n in zip(inputs, given, strict=True) for a, _ in port.free)
    )
    ports = []
    for name, axis, value, node in zip(names, axes, result.tensors, found, strict=True):
        batch = 0 if axis == FOLDED else axis
        lengths = [d for d in range(value.dim()) if d != batch and _symbols(node, d) & open_]
        free = tuple((d, known.get(str(_size(node, d)), f"{name}_{d}")) for d in lengths)
        ports.append(Port(name, 0, free, folded=True) if axis == FOLDED else Port(name, axis, free))
    return tuple(ports)


def _size(node: fx.Node, axis: int) -> Any:
    value = node.meta.get("val")
    return value.shape[axis] if isinstance(value, Tensor) else 0


def _symbols(node: fx.Node, axis: int) -> set[str]:
    """Return the lengths that torch.export has left open and that a size is made of; none for a fixed one."""
    size = _size(node, axis)
    return set() if isinstance(size, int) else {str(symbol) for symbol in size.node.expr.free_symbols}


def _is_bounded(node: fx.Node, axis: int) -> bool:
    """Say whether the network bounds a length on both sides (eight after a division by 32), so that others go wrong.

    An upper bound alone is what positions end at.
    """
    size = _size(node, axis)
    limits = size.node.shape_env.bound_sympy(size.node.expr)
    return bool(limits.lower > LEAST and limits.upper < OPEN)
