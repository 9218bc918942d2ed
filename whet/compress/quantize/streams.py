"""Where numbers can stay integers between layers: sums behind convolutions, averages in front of int8 layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import fx, nn

from whet.core.net import Net
from whet.graph.blocks import ADDS
from whet.graph.layers import bind

aten = torch.ops.aten
PADS = (aten.pad.default, aten.constant_pad_nd.default)
MOVES = (aten.slice.Tensor, *PADS)
"""What gives only numbers that it reads, and zeros: on a grid before means on that grid behind."""
AVERAGES = (aten.mean.dim, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default)
RESHAPES = (aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.dropout.default)
IMAGE = 4
"""Dimensions of what is averaged over positions."""


@dataclass(frozen=True)
class Stream:
    """A sum or an average, by the nodes `(source, reader)` between which a quantizer has to stand for each term."""

    node: str
    edges: tuple[tuple[str, str], ...]


def streams(net: Net, wanted: Collection[str]) -> list[Stream]:
    """Return the sums and averages of a net that can compute with integers, its layers `wanted` being int8.

    They are sums of two tensors of one shape, of which one comes right out of a convolution, and averages of images
    that an int8 layer reads. Runtimes add within the convolution then, and round once at its end. Sums behind linear
    layers stay in floats: OpenVINO does not join the two, and the stream of a transformer has outlying features that a
    grid loses (MiniLM: rank correlation .54 in place of .997).
    """
    shapes = net.forward_shapes()
    found = []
    for node in net.graph.nodes:
        if node.target in ADDS and _adds_two(node, shapes):
            terms = [_source(term, node) for term in node.args]
            if not any(_is_convolution(net, source, wanted) for source, _ in terms):
                continue
        elif node.target in AVERAGES and len(shapes[node.args[0].name]) == IMAGE and _is_read(node, wanted):
            terms = [_source(node.args[0], node)]
        else:
            continue
        found.append(Stream(node.name, tuple((source.name, reader.name) for source, reader in terms)))
    return found


def _adds_two(node: fx.Node, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Say whether a sum is of two different computed tensors of one shape, each once."""
    terms = [a for a in node.args if isinstance(a, fx.Node) and a.op != "get_attr" and a.name in shapes]
    return len(set(terms)) == 2 and not node.kwargs and shapes[terms[0].name] == shapes[terms[1].name]


def _source(node: fx.Node, reader: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Return the node that made the numbers of a tensor, and the one that reads them there."""
    while node.target in MOVES and _is_zero_filled(node):
        node, reader = node.all_input_nodes[0], node
    return node, reader


def _is_zero_filled(node: fx.Node) -> bool:
    a = bind(node.target, node.args, node.kwargs)
    return node.target not in PADS or (a.get("mode", "constant") == "constant" and not a["value"])


def _is_convolution(net: Net, node: fx.Node, wanted: Collection[str]) -> bool:
    is_wanted = node.op == "call_module" and str(node.target) in wanted
    return is_wanted and isinstance(net.layer(str(node.target)), nn.Conv1d | nn.Conv2d)


def _is_read(node: fx.Node, wanted: Collection[str]) -> bool:
    """Say whether an int8 layer reads a tensor, as it is or reshaped."""
    layers = any(user.op == "call_module" and str(user.target) in wanted for user in node.users)
    return layers or any(_is_read(user, wanted) for user in node.users if user.target in RESHAPES)
