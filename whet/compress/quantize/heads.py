"""Which outputs of linear layers become which head's queries, keys and values, and who reads what a head gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import VIEWS, Inputs, Lockstep
from whet.core.net import Net
from whet.graph.readers import Reader, find_readers
from whet.graph.rows import operator_name

ATTENTION = "scaled_dot_product_attention"
MOVES = frozenset((
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "chunk", "split", "split_with_sizes", "getitem",
    "contiguous", "clone", "slice", "select", "squeeze", "unsqueeze",
))  # fmt: skip
"""Operators that move numbers and change none."""


@dataclass(frozen=True)
class Part:
    """Of a linear layer the outputs that are a head's, or the inputs that it reads of one: `(heads, features)`."""

    reader: Reader
    features: Tensor


@dataclass(frozen=True)
class Attention:
    """A call of attention at `node`; a part is None where other numbers than a linear layer's come to it."""

    node: str
    query: Part | None
    key: Part | None
    value: Part | None
    out: Part | None


def find_attention(net: Net, sample: Inputs) -> list[Attention]:
    """Return the calls of attention of a net, in the order of execution, as one sample shows them.

    Outputs of linear layers are numbered, and the numbers go where operators of `MOVES` take them: what comes to a head
    is known however it is written. Calls with fewer heads of keys than of queries, or with other than four dimensions,
    are left out.
    """
    numbers = _Numbers(net, sample)
    numbers.steps.run(after=numbers.follow)
    return [Attention(name, *parts, numbers.behind.get(name)) for name, parts in numbers.parts.items()]


class _Numbers:
    """The numbers of outputs, by the node that they came to: where they came from, and themselves."""

    def __init__(self, net: Net, sample: Inputs) -> None:
        layers = net.layers()
        found, _ = find_readers(net)
        self.readers = {n: r for n, r in found.items() if isinstance(layers.get(r.site), nn.Linear)}
        self.steps = Lockstep(net, [sample])
        self.at = dict[str, tuple[str, Any]]()
        self.parts = dict[str, tuple[Part | None, Part | None, Part | None]]()
        self.behind = dict[str, Part]()
        self.heads = dict[str, int]()

    def follow(self, node: fx.Node) -> None:
        """Number what a node gave, if it is a linear layer or attention; move the numbers if it is one of `MOVES`."""
        values, name = self.steps.values[0], operator_name(node.target)
        if node.name in self.readers:
            self._read(self.readers[node.name])
            self.at[node.name] = node.name, _numbered(values[node], (-1,))
        elif name == ATTENTION and (operands := _operands(node, values)):
            query, key, value = (self._part(operand) for operand in operands)
            self.parts[node.name] = query, key, value
            self.heads[node.name] = values[node].shape[1]
            self.at[node.name] = node.name, _numbered(values[node], (1, 3))
        elif name in MOVES and node.op == "call_function":
            origins = {self.at[n.name][0] for n in node.all_input_nodes if n.name in self.at}
            if len(origins) == 1:
                self.at[node.name] = origins.pop(), self._moved(node)

    def _moved(self, node: fx.Node) -> Any:
        """Return what an operator gives of numbers in the place of values."""

        def given(source: fx.Node) -> Any:
            return self.at[source.name][1] if source.name in self.at else self.steps.values[0][source]

        target: Any = VIEWS.get(node.target, node.target)  # type: ignore[call-overload]
        return target(*fx.map_arg(node.args, given), **fx.map_arg(node.kwargs, given))

    def _part(self, operand: fx.Node) -> Part | None:
        """Return which outputs of which layer an operand `(N, heads, positions, features)` is."""
        origin, numbers = self.at.get(operand.name, ("", None))
        if origin not in self.readers or not isinstance(numbers, Tensor):
            return None
        features = numbers[0, :, 0]
        return Part(self.readers[origin], features) if (numbers == features[:, None]).all() else None

    def _read(self, reader: Reader) -> None:
        """Note a layer that reads what attention gave, all of it and nothing else."""
        origin, numbers = self.at.get(reader.source, ("", None))
        if origin not in self.parts or not isinstance(numbers, Tensor):
            return
        rows = numbers.flatten(0, -2)
        order = torch.argsort(rows[0])
        if (rows == rows[0]).all() and torch.equal(rows[0][order], torch.arange(len(order))):
            self.behind[origin] = Part(reader, order.view(self.heads[origin], -1))


def _numbered(value: Tensor, axes: Sequence[int]) -> Tensor:
    """Return numbers of a value's shape that count along some of its axes and are equal along the others."""
    shape = [1] * value.dim()
    for axis in axes:
        shape[axis] = value.shape[axis]
    count = int(torch.tensor(shape).prod())
    return torch.arange(count).view(shape).expand(value.shape)


def _operands(node: fx.Node, values: Any) -> list[fx.Node]:
    """Return queries, keys and values of a call with as many heads of each; nothing of another."""
    found = [n for n in node.args[:3] if isinstance(n, fx.Node)]
    shapes = [values[n].shape for n in found]
    same = len(found) == 3 and all(len(s) == 4 for s in shapes) and len({s[1] for s in shapes}) == 1
    return found if same else []
