"""The layout that a network's users know, around a graph in which dimension 0 is always the batch.

`lift` lets a graph begin with `outward` moves of its inputs and end with `inward` moves of its outputs, so that all of
whet is batch-first; `unwrap` takes both off again, for a file that is a drop-in for the source.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from whet.core.net import Net, Port

aten = torch.ops.aten
OUTSIDE = "outside"
"""Marks in a node's meta the moves between the two layouts."""


def outward(graph: fx.Graph, node: fx.Node, port: Port, rank: int) -> fx.Node:
    """Insert what brings a tensor of `rank` dimensions, the batch in dimension 0, into its port's outside layout."""
    if port.batch_axis is None:
        return _call(graph, aten.select.int, (node, 0, 0))
    if port.folded:
        return _call(graph, aten.flatten.using_ints, (node, 0, 1))
    order = list(range(1, rank))
    order.insert(port.batch_axis, 0)
    return _permuted(graph, node, order)


def inward(graph: fx.Graph, node: fx.Node, port: Port, rank: int, rows: Callable[[], fx.Node]) -> fx.Node:
    """Insert what brings a tensor of `rank` dimensions from its port's outside layout to the batch in dimension 0.

    `rows` makes the node that is the size of the batch; it is asked for tensors without a batch, or with a folded one.
    """
    if port.folded:
        return _call(graph, aten.unflatten.int, (node, 0, [rows(), -1]))
    if port.batch_axis is None:
        one = _call(graph, aten.unsqueeze.default, (node, 0))
        return _call(graph, aten.expand.default, (one, [rows(), *[-1] * rank]))
    order = [port.batch_axis, *(d for d in range(rank) if d != port.batch_axis)]
    return _permuted(graph, node, order)


def rows_of(graph: fx.Graph, inputs: list[fx.Node], axes: list[int | None]) -> fx.Node:
    """Insert the node that is the size of the batch: that of the first input that has one, along its axis."""
    node, axis = next((n, a) for n, a in zip(inputs, axes, strict=True) if a is not None)
    return _call(graph, aten.sym_size.int, (node, axis))


def unwrap(net: Net) -> fx.GraphModule:
    """Return a copy of a net's module that takes and gives tensors in the layout of `net.inputs` and `net.outputs`.

    Placeholders and outputs keep their order. A move that passes have left in its place cancels with its reverse; for
    any other the reverse is put in.
    """
    module = copy.deepcopy(net.module)
    if not any(port.moved for port in (*net.inputs, *net.outputs)):
        return module
    graph, shapes = module.graph, net.forward_shapes()
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    axes = [port.batch_axis for port in net.inputs]
    first = next(n for n in graph.nodes if n.op != "placeholder")
    with graph.inserting_before(first):
        for node, port, value in zip(inputs, net.inputs, net.example, strict=True):
            if port.batch_axis != 0 and node.users:
                users = list(node.users)
                rank = value.dim() - (port.batch_axis is None)
                moved = inward(graph, node, port, rank, lambda: rows_of(graph, inputs, axes))
                for user in users:
                    user.replace_input_with(node, moved)
    end = next(n for n in graph.nodes if n.op == "output")
    found = iter(net.outputs)

    def leave(leaf: fx.Node) -> fx.Node:
        port = next(found)
        return outward(graph, leaf, port, len(shapes[leaf.name])) if port.moved else leaf

    with graph.inserting_before(end):
        end.args = (fx.map_arg(end.args[0], leave),)
    _cancel(graph)
    return Net(module, net.example, net.name, net.inputs, net.outputs).settle().module


def _cancel(graph: fx.Graph) -> None:
    """Take out each move that undoes the one before it."""
    for node in list(graph.nodes):
        before = node.args[0] if node.op == "call_function" and node.args else None
        if not isinstance(before, fx.Node):
            continue
        source = before.args[0] if before.args else None
        if node.target is before.target is aten.permute.default:
            first, second = _dims(before), _dims(node)
            undone = [first[i] for i in second] == list(range(len(first)))
        elif node.target is aten.flatten.using_ints:
            undone = before.target is aten.unflatten.int and (node.args[1:], before.args[1]) == ((0, 1), 0)
        else:
            undone = node.target is aten.select.int and node.args[1:] == (0, 0) and _repeats(before)
            source = source.args[0] if undone and isinstance(source, fx.Node) else source
        if undone and isinstance(source, fx.Node):
            node.replace_all_uses_with(source)


def _dims(node: fx.Node) -> list[int]:
    order: Any = node.args[1]
    return [d % len(order) for d in order]


def _repeats(node: fx.Node) -> bool:
    """Say whether a node repeats a tensor along a new dimension 0."""
    source = node.args[0] if node.args else None
    alone = isinstance(source, fx.Node) and source.target is aten.unsqueeze.default and source.args[1:] == (0,)
    return node.target is aten.expand.default and alone


def _permuted(graph: fx.Graph, node: fx.Node, order: list[int]) -> fx.Node:
    return node if order == list(range(len(order))) else _call(graph, aten.permute.default, (node, order))


def _call(graph: fx.Graph, target: Any, args: tuple[Any, ...]) -> fx.Node:
    node = graph.call_function(target, args)
    node.meta[OUTSIDE] = True
    return node
