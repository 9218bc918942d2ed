"""Batches as loaders yield them, made into `(inputs, targets)`: tensors as a net takes them, and a tree."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.core.net import Net, Port
from whet.core.task import length_of, rows_of
from whet.support.structure import Rows, Tree, is_rows, items, mapped, mapped_by_path

Inputs = tuple[Tensor, ...]

INPUT_KEYS = (
    "inputs", "input", "x", "pixel_values", "image", "images", "input_ids", "input_values", "input_features",
    "features", "data",
)  # fmt: skip
TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""What data sets call inputs and labels; the first that is there counts."""


@dataclass(frozen=True)
class Canonical:
    """Makes a loader's batches into `(inputs, targets)` as a net takes them, and brings targets back outside.

    Inputs are matched by the names of the net's ports, then by usual names, then by order; each is laid batch first and
    converted to the dtype of the net's example. `take` says which of a batch's readings holds the targets (`readings`).
    `axes` remembers where the batch lies in each tensor of the targets, by its path, as the first batch showed it.
    """

    task: str
    ports: tuple[Port, ...]
    example: Inputs
    outputs: tuple[Port, ...]
    take: int = 0
    axes: dict[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, net: Net, task: str, take: int = 0) -> Canonical:
        """Return the canonical form for a net's inputs and outputs, in the words of a task's name."""
        return cls(task, net.inputs, net.example, net.outputs, take)

    def __call__(self, batch: Any, where: str) -> tuple[Inputs, Tree]:
        inputs, readings = self.readings(batch, where)
        return inputs, self.targets(readings[min(self.take, len(readings) - 1)], rows_of(inputs), where)

    def readings(self, batch: Any, where: str) -> tuple[Inputs, list[Tree]]:
        """Return a batch's inputs and the trees that may be its targets, the likelier first; [None] without any."""
        given, readings = _parted(batch, self.ports, self._error(where))
        return self.inputs(given, where), readings

    # -- inputs ------------------------------------------------------------------------------------------------

    def inputs(self, given: Tree, where: str) -> Inputs:
        """Return one tensor an input of the net, batch first, in the dtype of the net's example.

        Raises: TaskError naming the input whose shape, rows or kind of numbers does not fit.
        """
        leaves = [(name, leaf) for name, leaf in _leaves(given) if isinstance(leaf, Tensor)]
        values = self._matched(leaves, where)
        sized = [(p, v) for p, v in zip(self.ports, values, strict=True) if p.batch_axis is not None and v.dim()]
        if not sized:
            raise self._error(where)("no input has a batch dimension.")
        first, value = sized[0]
        rows = value.shape[first.batch_axis or 0] if value.dim() > (first.batch_axis or 0) else 0
        return tuple(
            self._input(port, value, example, rows, where)
            for port, value, example in zip(self.ports, values, self.example, strict=True)
        )

    def _matched(self, leaves: list[tuple[str, Tensor]], where: str) -> list[Tensor]:
        """Return the tensors in the order of the ports: by name where all names are there, by order otherwise."""
        by_name = {plain(name): leaf for name, leaf in leaves}
        names = [plain(port.name) for port in self.ports]
        if all(name in by_name for name in names):
            return [by_name[name] for name in names]
        if len(leaves) == len(self.ports):
            return [leaf for _, leaf in leaves]
        usual = [by_name[key] for key in INPUT_KEYS if key in by_name]
        if len(self.ports) == 1 and usual:
            return usual[:1]
        fitting = [leaf for _, leaf in leaves if _alike(leaf, self.ports[0], self.example[0])]
        if len(self.ports) == 1 and len(fitting) == 1:
            return fitting
        has = ", ".join(f"{name or 'tensor'} {tuple(leaf.shape)}" for name, leaf in leaves) or "no tensor"
        wanted = ", ".join(port.name for port in self.ports)
        raise self._error(where)(
            f"the network takes {len(self.ports)} inputs ({wanted}); the batch has {has}. Name them as the network "
            "does, or give ((first, second, ...), targets)."
        )

    def _input(self, port: Port, value: Tensor, example: Tensor, rows: int, where: str) -> Tensor:
        expected = port.outside(example)
        same = value.dim() == expected.dim()
        free = {axis for axis, _ in port.free}
        for axis, (got, size) in enumerate(zip(value.shape, expected.shape, strict=False)):
            same = same and (got == size or axis == port.batch_axis or axis in free)
        if not same:
            raise self._error(where)(
                f"input '{port.name}' has shape {tuple(value.shape)}; the network takes {shape_text(port, expected)}."
                + self._hint(port, value, expected)
            )
        if port.batch_axis is not None and value.shape[port.batch_axis] != rows:
            raise self._error(where)(
                f"input '{port.name}' has {value.shape[port.batch_axis]} rows, the first input {rows}."
            )
        if not rows:
            raise self._error(where)("the batch is empty.")
        return port.inside(self._converted(value, example, port.name, where), rows)

    def _hint(self, port: Port, value: Tensor, expected: Tensor) -> str:
        """Say what to do: where a sample is no batch, or nothing but a length differs."""
        if value.dim() == expected.dim() - 1:
            return " If it is a single sample, give batches, as torch.utils.data.DataLoader(..., batch_size=32) does."
        if value.dim() != expected.dim():
            return ""
        free = {axis for axis, _ in port.free}
        axes = [
            axis
            for axis in range(value.dim())
            if value.shape[axis] != expected.shape[axis] and axis != port.batch_axis and axis not in free
        ]
        named = ", ".join(f"{axis}: 'length{i or ''}'" for i, axis in enumerate(axes))
        return (
            f" Its axis {', '.join(map(str, axes))} is fixed; if lengths differ from batch to batch, leave it open "
            f"with lift(..., free_axes={{'{port.name}': {{{named}}}}}), or pad the batches."
        )

    def _converted(self, value: Tensor, example: Tensor, name: str, where: str) -> Tensor:
        """Return the tensor in the example's dtype, if nothing but its width differs."""
        if value.dtype == example.dtype:
            return value
        kinds = _kind(value), _kind(example)
        if kinds[0] != kinds[1] and not {*kinds} <= {"integers", "booleans"}:
            raise self._error(where)(
                f"input '{name}' holds {kinds[0]} ({value.dtype}); the network takes {example.dtype}. Convert it in "
                "the loader, with the scale that the network was trained with."
            )
        return value.to(example.dtype)

    # -- targets -----------------------------------------------------------------------------------------------

    def targets(self, given: Tree, rows: int, where: str) -> Tree:
        """Return targets whose tensors are batch first, floats as f32 and integers as int64, as losses expect them."""
        return mapped_by_path(
            lambda path, leaf: self._target(leaf, path, rows, where),
            tensored(given),
            is_leaf=lambda tree: isinstance(tree, list) and (is_rows(tree) or _ragged(tree, rows)),
        )

    def _target(self, leaf: Any, path: str, rows: int, where: str) -> Any:
        if isinstance(leaf, list):
            if len(leaf) != rows:
                raise self._error(where)(f"targets{_at(path)} are a list of {len(leaf)}; the batch has {rows} rows.")
            return Rows(leaf)
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = _widened(leaf)
        if leaf.dim() == 0 and rows == 1:
            return leaf.reshape(1)
        if path not in self.axes:
            wanted = [port.batch_axis for port in self.outputs if port.batch_axis is not None]
            found = [axis for axis in (*wanted, 0) if axis < leaf.dim() and leaf.shape[axis] == rows]
            if not found and leaf.dim() and leaf.shape[0] % rows == 0 and leaf.shape[0]:
                found = [0]  # one row for each of several positions, as flattened tokens have
            self.axes[path] = found[0] if found else -1
        axis = self.axes[path]
        if axis < 0 or axis >= leaf.dim() or leaf.shape[axis] % rows or not leaf.shape[axis]:
            self.axes.pop(path)
            raise self._error(where)(
                f"targets{_at(path)} have shape {tuple(leaf.shape)}; the batch has {rows} rows. Give one row a sample, "
                "or a list with one entry a sample."
            )
        return leaf.movedim(axis, 0)

    def targets_outside(self, targets: Tree) -> Tree:
        """Return targets as the loader gave them: the batch where it lay."""

        def outside(path: str, leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return leaf.movedim(0, self.axes.get(path, 0))
            return list(leaf) if isinstance(leaf, Rows) else leaf

        return mapped_by_path(outside, targets)

    def outputs_outside(self, outputs: Tree) -> Tree:
        """Return outputs as the source gives them: the batch where it lay."""
        if not any(port.moved for port in self.outputs):
            return outputs
        ports = iter(self.outputs)
        return mapped(lambda leaf: next(ports).outside(leaf) if isinstance(leaf, Tensor) else leaf, outputs)

    def _error(self, where: str) -> Any:
        return lambda text: TaskError(f"task '{self.task}', {where}: {text}")


class Bound:
    """A collection whose batches are made canonical as they are read; it is as re-iterable as what it is made of."""

    def __init__(self, source: Iterable[Any], canonical: Canonical, where: str) -> None:
        self.source, self.canonical, self.where = source, canonical, where

    def __iter__(self) -> Iterator[tuple[Inputs, Tree]]:
        for index, batch in enumerate(self.source):
            yield self.canonical(batch, f"{self.where}, batch {index}")

    def at_epoch(self, epoch: int) -> Bound:
        """Return the batches of one epoch; a collection without epochs gives the same each time."""
        if not hasattr(self.source, "at_epoch"):
            return self
        return bound(self.source.at_epoch(epoch), self.canonical, self.where)


class SizedBound(Bound):
    """The same of a collection that knows its number of batches."""

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]


def bound(source: Iterable[Any], canonical: Canonical, where: str) -> Bound:
    """Return a collection's canonical batches, with a length where the collection has one."""
    return (Bound if length_of(source) is None else SizedBound)(source, canonical, where)


def _parted(batch: Any, ports: Sequence[Port], error: Any) -> tuple[Tree, list[Tree]]:
    """Return a batch's inputs, and what may be its targets, the likelier first; [None] without any."""
    if isinstance(batch, Mapping):
        return _parted_by_key(batch, ports)
    if not isinstance(batch, tuple | list) or (batch and all(isinstance(x, numbers.Number) for x in batch)):
        return batch, [None]
    if not len(batch):
        raise error("the batch is empty.")
    first, rest = batch[0], list(batch[1:])
    if not rest and isinstance(first, Mapping):
        return _parted_by_key(first, ports)
    structured = isinstance(first, Mapping) or (isinstance(first, tuple | list) and not _numbers(first))
    if len(ports) > 1 and not structured and len(batch) >= len(ports):
        first, rest = tuple(batch[: len(ports)]), list(batch[len(ports) :])
    if not rest or rest[0] is None:
        return first, [None]
    return first, [rest[0]] if len(rest) == 1 else [rest[0], tuple(rest)]


def _parted_by_key(batch: Mapping[Any, Any], ports: Sequence[Port]) -> tuple[Tree, list[Tree]]:
    """Return inputs and targets of a dictionary: inputs by the ports' names or usual ones, labels by usual ones.

    Without a usual name for the labels everything that is no input is the target; with one, all of it is the second
    reading, for losses that need more than the labels.
    """
    names = {plain(port.name) for port in ports}
    matched = {k: v for k, v in batch.items() if plain(str(k)) in names or _parent(str(k), ports)}
    labels = [key for key in TARGET_KEYS if key in batch and key not in matched]
    others = {k: v for k, v in batch.items() if k not in matched and k not in labels}
    if not matched:
        matched = {k: v for k, v in others.items() if k in INPUT_KEYS} or _inputs_alone(others, bool(labels))
    rest = {k: v for k, v in batch.items() if k not in matched and v is not None}
    if labels and batch[labels[0]] is not None:
        return matched, [batch[labels[0]], rest] if len(rest) > 1 else [batch[labels[0]]]
    data = {k: v for k, v in rest.items() if any(isinstance(leaf, Tensor) for _, leaf in _leaves(v))}
    if not data:
        return matched, [None]
    return matched, [next(iter(data.values())) if len(data) == 1 else data, rest]


def _inputs_alone(others: Mapping[Any, Any], labelled: bool) -> dict[Any, Any]:
    """Return what can only be inputs where no name says it: all tensors beside labels, else the first tensor."""
    data = {k: v for k, v in others.items() if any(isinstance(leaf, Tensor) for _, leaf in _leaves(v))}
    return data if labelled else dict(list(data.items())[:1])


def _parent(key: str, ports: Sequence[Port]) -> bool:
    """Say whether a key holds the tree of some ports: `state` of `state.0` and `state.1`."""
    return any(plain(port.name).startswith(plain(key) + "_") for port in ports) and key not in TARGET_KEYS


def tensored(tree: Tree) -> Tree:
    """Return a tree with numpy arrays, numbers and lists of numbers as tensors; text and other objects stay.

    >>> tensored({"y": [1, 2], "weights": np.ones(2), "name": "a"})
    {'y': tensor([1, 2]), 'weights': tensor([1., 1.], dtype=torch.float64), 'name': 'a'}
    """
    return mapped_by_path(
        lambda path, leaf: _tensor(leaf), tree, is_leaf=lambda t: _numbers(t) or _scalars(t) or is_rows(t)
    )


def _tensor(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray | np.generic):
        return _from_numpy(np.asarray(leaf))
    if isinstance(leaf, numbers.Number):
        return torch.tensor(leaf)
    if _scalars(leaf):
        return torch.stack(list(leaf))
    if not _numbers(leaf):
        return Rows(map(tensored, leaf)) if is_rows(leaf) else leaf
    try:
        return _from_numpy(np.asarray(leaf))
    except ValueError:  # rows of different lengths
        return Rows(map(tensored, leaf))


def _from_numpy(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind not in "biuf":
        return array.tolist()
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(np.require(array, requirements=("C", "W", "A")))


def _numbers(tree: Any) -> bool:
    """Say whether a list is a table of numbers, not a tree of tensors."""
    if isinstance(tree, tuple | list):
        return bool(tree) and all(isinstance(x, numbers.Number | tuple | list) and _numbers(x) for x in tree)
    return isinstance(tree, numbers.Number)


def _scalars(tree: Any) -> bool:
    """Say whether a list holds one number a row, as tensors."""
    return isinstance(tree, list) and bool(tree) and all(isinstance(x, Tensor) and x.dim() == 0 for x in tree)


def _leaves(tree: Tree) -> Iterator[tuple[str, Any]]:
    yield from items(tensored(tree))


def _ragged(tree: list[Any], rows: int) -> bool:
    every = all(isinstance(leaf, Tensor | tuple | list) for leaf in tree)
    return len(tree) == rows and every and not all(isinstance(t, Tensor) and t.dim() and len(t) == rows for t in tree)


def _widened(leaf: Tensor) -> Tensor:
    if leaf.is_floating_point():
        return leaf.float()
    return leaf.long() if not leaf.is_complex() and leaf.dtype != torch.bool else leaf


def _alike(value: Tensor, port: Port, example: Tensor) -> bool:
    """Say whether a tensor could be this input: its dimensions and its kind of numbers."""
    return value.dim() == port.outside(example).dim() and _kind(value) == _kind(example)


def _kind(value: Tensor) -> str:
    if value.is_floating_point():
        return "floats"
    return "booleans" if value.dtype == torch.bool else "integers"


def plain(name: str) -> str:
    """Return a name as a graph spells it: other signs than letters and digits are underscores."""
    return "".join(c if c.isalnum() else "_" for c in name).strip("_").lower()


def shape_text(port: Port, outside: Tensor) -> str:
    """Return the shape that a port takes: `(batch, 3, 32, 32)`."""
    free = dict(port.free)
    sizes = ["batch" if i == port.batch_axis else free.get(i, str(size)) for i, size in enumerate(outside.shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _at(path: str) -> str:
    return f" '{path}'" if path else ""
