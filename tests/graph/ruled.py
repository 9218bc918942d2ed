"""One operator under its rule: the labels it leaves, and what its rewritten call gives after a cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from whet.graph.labels import Dim, Labels
from whet.graph.operators import row_of
from whet.graph.rows import Call, Edit, bind, is_dims, operator_name


class Ruled:
    """`target` called with tensors whose every element has a label of its own; whole numbers are constants."""

    def __init__(self, target: Any, *args: Any, **kwargs: Any) -> None:
        self.labels, self.inputs = Labels(), list[list[Dim]]()
        self._values, self._tensors = dict[str, Any](), dict[str, Tensor]()
        graph, root = fx.Graph(), nn.Module()

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            name = f"x{len(self.inputs)}"
            known = not (value.is_floating_point() or value.is_complex())
            if known:
                root.register_buffer(name, value)
            node = graph.get_attr(name) if known else graph.placeholder(name)
            self.inputs.append([self.labels.fresh(size) for size in value.shape])
            self._values[node.name], self._tensors[node.name] = self.inputs[-1], value
            return node

        nodes = fx.node.map_aggregate(args, placed), fx.node.map_aggregate(kwargs, placed)
        self.node = graph.call_function(target, *nodes)
        self.module = fx.GraphModule(root, graph)
        self.tensor = target(*args, **kwargs)
        row = row_of(target)
        assert row is not None
        self.row = row
        self.call = Call(
            self.node, bind(self.node), self._values, self.labels, operator_name(target), self.tensor
        )  # fmt: skip
        self.out = row.rule(self.call)

    def same(self, one: Dim, other: Dim) -> bool:
        """Say whether two dimensions stand and fall together, element by element."""
        return np.array_equal(self.labels.roots(one), self.labels.roots(other))

    def cut(self, *gone: Dim) -> tuple[Any, Any]:
        """Return what the rewritten node gives for what is left of its inputs, and what is left of its output."""
        removed = np.zeros(self.labels.count, bool)
        removed[[leaf for dim in gone for x in dim for leaf in self.labels.leaves(int(x))]] = True
        removed = self.labels.spread(removed)

        def left(value: Tensor, dims: list[Dim]) -> Tensor:
            for axis, dim in enumerate(dims):
                value = value.index_select(axis, torch.from_numpy(np.flatnonzero(~removed[dim])))
            return value

        wanted = left(self.tensor, self.out) if is_dims(self.out) else tuple(map(left, self.tensor, self.out))
        given = {name: left(value, self._values[name]) for name, value in self._tensors.items()}

        def constant(name: str, value: Tensor) -> fx.Node:
            node = self.node.graph.placeholder(f"{name}_constant")
            given[node.name] = value
            return node

        if self.row.rewrite is not None:
            values = {**self._values, self.node.name: self.out}
            self.row.rewrite(Edit(self.node, bind(self.node), values, removed, constant))
        args, kwargs = fx.map_arg((self.node.args, self.node.kwargs), lambda n: given[n.name])
        return self.node.target(*args, **kwargs), wanted  # type: ignore[operator]
