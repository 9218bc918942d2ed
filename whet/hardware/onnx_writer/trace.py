"""What a network computes at two sizes of everything that is free: which lengths and which values are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

LENGTHS = (torch.ops.aten.sym_size.int, torch.ops.aten.sym_numel.default)

Dims = list[int | None]
"""The lengths of a tensor's dimensions; None where it depends on a free one."""


@dataclass(frozen=True)
class Trace:
    """Each node's value in both runs, and the nodes whose value no input can change."""

    values: dict[fx.Node, tuple[Any, Any]]
    constants: set[fx.Node]

    def dims(self, node: fx.Node) -> Dims:
        """Return the length of each axis of a node's tensor, None where it differs between the two runs: free."""
        a, b = self.values[node]
        return [m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)]

    def dtype(self, node: fx.Node) -> torch.dtype:
        """Return the element type of the tensor that a node gives."""
        found: torch.dtype = self.values[node][0].dtype
        return found


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if n.op != "output":
            self.seen[n] = out
        return out


def trace(module: fx.GraphModule, first: Sequence[Tensor], second: Sequence[Tensor]) -> Trace:
    """Run a module in eval mode on two sets of inputs whose shapes differ in every length that is free."""
    runs = []
    with torch.no_grad():
        for inputs in (first, second):
            recorder = _Recorder(module)
            recorder.run(*inputs)
            runs.append(recorder.seen)
    values = {node: (value, runs[1][node]) for node, value in runs[0].items()}
    return Trace(values, _constants(module.graph, values))


def _constants(graph: fx.Graph, values: dict[fx.Node, tuple[Any, Any]]) -> set[fx.Node]:
    """Return the nodes that are fixed: constants, what is computed of constants alone, and lengths that are fixed.

    A number that is read out of a tensor is no length: that it was the same twice says nothing.
    """
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        a, b = values[node]
        measured = node.target in LENGTHS and a == b
        derived = node.op == "get_attr" or all(n in found for n in node.all_input_nodes)
        if measured or (derived and node.op != "call_module" and _same(a, b)):
            found.add(node)
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
