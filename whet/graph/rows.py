"""What the rows of the operator table are written against: `Call` for a rule, `Edit` for a rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from whet.graph.labels import Dim, Labels

Dims = list[Dim]
"""The labels of a tensor, one array a dimension."""

Value = Any
"""What a node carries: `Dims` for a tensor, a tuple of values for several outputs, None for anything else."""


@dataclass(frozen=True)
class Row:
    """A row of the operator table; `rewrite` adapts literal arguments after a cut and may be absent."""

    rule: Callable[[Call], Value]
    rewrite: Callable[[Edit], None] | None = None


@dataclass
class Bound:
    """A node with its arguments by name, and the labels of all nodes before it."""

    node: fx.Node
    arguments: dict[str, Any]
    values: Mapping[str, Value]

    def __contains__(self, name: str) -> bool:
        return name in self.arguments

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or `default` where there is none of that name."""
        return self.arguments.get(name, default)

    def value(self, argument: Any) -> Value:
        """Return the labels of an argument, None if it holds no tensor."""
        if isinstance(argument, fx.Node):
            return self.values.get(argument.name)
        return argument if is_dims(argument) else None

    def dims(self, name: str) -> Dims:
        """Return the labels of a tensor argument, empty where it is none."""
        value = self.value(self.arguments[name])
        return value if is_dims(value) else []

    def maybe(self, name: str) -> Dims | None:
        """Return the labels of a tensor argument, None where it is absent or none."""
        value = self.value(self.arguments.get(name))
        return value if is_dims(value) else None

    def list_dims(self, name: str) -> list[Dims]:
        """Return the labels of each tensor in a list argument."""
        return [self.value(item) for item in self.arguments[name]]

    @property
    def first(self) -> Dims:
        """The labels of the first tensor argument."""
        return next(iter(self.tensors()), [])

    def tensors(self) -> Iterator[Dims]:
        """Yield the labels of each tensor argument, also within lists and tuples."""

        def walk(value: Any) -> Iterator[Dims]:
            if is_dims(value):
                yield value
            elif isinstance(value, (list, tuple)):
                for item in value:
                    yield from walk(self.value(item) if isinstance(item, fx.Node) else item)

        for argument in self.arguments.values():
            yield from walk(self.value(argument) if isinstance(argument, fx.Node) else argument)

    def parameters(self) -> Iterator[Dims]:
        """Yield the labels of the tensor arguments that the graph reads from an attribute."""
        for node in self.node.all_input_nodes:
            if node.op == "get_attr" and is_dims(self.values.get(node.name)):
                yield self.values[node.name]


@dataclass
class Call(Bound):
    """A node under analysis: `out` is its concrete output, `shape` its shape."""

    labels: Labels
    name: str
    out: Any
    marks: list[tuple[str, Dim]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return tuple(self.out.shape)

    def mark(self, kind: str, *dims: Dim) -> None:
        """Remember that the atoms of `dims` are heads, groups and so on."""
        self.marks.extend((kind, dim) for dim in dims)

    def zeros(self, size: int) -> Dim:
        """Return frozen labels for `size` elements."""
        return np.zeros(size, np.int64)

    def opaque(self, start: int, shape: Sequence[int] | None = None) -> Dims:
        """Return frozen labels for the output's dimensions from `start` on."""
        return [self.zeros(size) for size in (self.shape if shape is None else tuple(shape))[start:]]

    def each_output(self, place: Callable[[torch.Size], Dims]) -> Value:
        """Return what `place` makes of the shape of the output, or of each of several."""
        if isinstance(self.out, Tensor):
            return place(self.out.shape)
        return tuple(place(item.shape) if isinstance(item, Tensor) else None for item in self.out)

    def freeze_all(self) -> Value:
        """Freeze every tensor argument and return frozen labels for the output."""
        for dims in self.tensors():
            self.labels.freeze(*dims)
        return frozen_like(self.out)

    def unknown(self, reason: str) -> Value:
        """Freeze all that the node touches, and report it if that takes anything away."""
        if not all(self.labels.frozen(dim) for dims in self.tensors() for dim in dims):
            self.skipped[self.node.name] = f"{self.name}: {reason}"
        return self.freeze_all()

    def broadcast(self, operands: Sequence[Dims]) -> Dims:
        """Unify dimensions of equal size, aligned at the right; size one ties nothing."""
        result = []
        for axis, size in enumerate(reversed(self.shape), start=1):
            same = [dims[-axis] for dims in operands if len(dims) >= axis and len(dims[-axis]) == size]
            result.append(self.labels.unify(*same) if size > 1 and same else self.zeros(size))
        return result[::-1]


@dataclass
class Edit(Bound):
    """A node of a copied net whose dimensions are being cut; `removed` says it of each label."""

    removed: NDArray[np.bool_]
    constant: Callable[[str, Tensor], fx.Node]

    @property
    def out(self) -> Value:
        """The labels of the node's own output."""
        return self.values[self.node.name]

    def mask(self, dim: Dim) -> NDArray[np.bool_]:
        """Say of each element of `dim` whether it stays. Shape (elements,)."""
        return ~self.removed[dim]

    def kept(self, dim: Dim) -> int:
        """Return how many elements of `dim` are left."""
        return int(self.mask(dim).sum())

    def changed(self, dim: Dim) -> bool:
        """Say whether any element of `dim` has gone."""
        return self.kept(dim) != len(dim)

    def kept_groups(self, dim: Dim, groups: int) -> int:
        """Return how many of `groups` equal runs of `dim` keep any element."""
        return int(self.mask(dim).reshape(groups, -1).any(1).sum())

    def set(self, name: str, value: Any) -> None:
        """Replace an argument of the node, wherever it was given."""
        names = [argument.name for argument in self.node.target._schema.arguments]  # type: ignore[union-attr]
        if names.index(name) < len(self.node.args):
            self.node.update_arg(names.index(name), value)
        else:
            self.node.update_kwarg(name, value)

    def set_sizes(self, name: str, dims: Dims) -> None:
        """Replace the literal sizes that differ; a size that the graph computes becomes -1."""
        sizes = list(self[name])
        offset = len(dims) - len(sizes)
        for i, size in enumerate(sizes):
            dim = dims[i + offset]
            if self.changed(dim) and not (isinstance(size, int) and size == -1):
                sizes[i] = self.kept(dim) if isinstance(size, int) else -1
        self.set(name, sizes)


def is_dims(value: Any) -> bool:
    """Say whether a value is the labels of one tensor."""
    return isinstance(value, list) and all(isinstance(item, np.ndarray) for item in value)


def each_dims(value: Value) -> Iterator[Dims]:
    """Yield the labels of every tensor in a nest of values."""
    if is_dims(value):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from each_dims(item)


def frozen_like(out: Any) -> Value:
    """Return frozen labels for a tensor or a nest of tensors."""
    if isinstance(out, Tensor):
        return [np.zeros(size, np.int64) for size in out.shape]
    if isinstance(out, (list, tuple)):
        return tuple(frozen_like(item) for item in out)
    return None


def operator_name(target: Any) -> str:
    """Return the short name of a graph target: `conv2d` for `aten.conv2d.default`, `getitem`."""
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.split("::")[-1]
    return str(getattr(target, "__name__", target))


def bind(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of an operator node by name, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {**{str(i): a for i, a in enumerate(node.args)}, **node.kwargs}
    result: dict[str, Any] = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args):
            result[argument.name] = node.args[i]
        elif argument.name in node.kwargs:
            result[argument.name] = node.kwargs[argument.name]
        else:
            result[argument.name] = argument.default_value if argument.has_default_value() else None
    return result
