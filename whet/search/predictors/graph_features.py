"""Networks as directed graphs of atomic operations: what predictors that learn on graphs are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from whet.core.errors import StudyError
from whet.core.net import Net
from whet.graph.rows import operator_name

KINDS = (
    "unknown", "input", "parameter", "convtranspose", "depthwise", "conv", "linear", "embedding", "batchnorm",
    "layernorm", "groupnorm", "rmsnorm", "norm", "dropout", "relu", "hardtanh", "hardswish", "hardsigmoid", "gelu",
    "silu", "elu", "sigmoid", "tanh", "softplus", "softmax", "identity", "add", "sub", "mul", "div", "neg", "pow",
    "sqrt", "exp", "log", "maximum", "addmm", "bmm", "matmul", "einsum", "attention", "lstm", "gru", "maxpool",
    "avgpool", "mean", "sum", "cat", "stack", "chunk", "split", "unbind", "getitem", "slice", "select", "index",
    "gather", "scatter", "pad", "upsample", "interpolate", "view", "reshape", "flatten", "squeeze", "transpose",
    "permute", "expand", "repeat", "roll", "clone", "contiguous", "quantize", "quantizedlinear", "quantizedconv",
)  # fmt: skip
"""The vocabulary of operations; what no entry describes is `unknown`."""

SIZES = 6
"""Numbers that describe a node beside its kind: see `ComputationGraph`."""


@dataclass(frozen=True, eq=False)
class ComputationGraph:
    """A network as nodes in the order of execution, and edges along which tensors go, from earlier nodes to later ones.

    `layers` names the layer that each node calls, and is empty for other operations. `kinds` are places in `KINDS`,
    shape (nodes,). `sizes`, shape (nodes, 6), are log2(1 + size) / 8 of the channels in and out, of the positions in
    and out, of the kernel and of the weights; channels are dimension 1 of images and volumes, and the last dimension of
    everything else. `edges` are pairs of source and sink, shape (2, edges).

    The same network gives the same graph whatever its weights are.
    """

    layers: tuple[str, ...]
    kinds: Tensor
    sizes: Tensor
    edges: Tensor


def kind(name: str) -> str:
    """Return the longest of `KINDS` that the name of an operation contains, so that its variants are of one kind.

    >>> kind("adaptive_avg_pool2d"), kind("BatchNorm2d"), kind("operator_of_tomorrow")
    ('avgpool', 'batchnorm', 'unknown')
    """
    plain = name.lower().replace("_", "")
    return max((k for k in KINDS if k in plain), key=len, default="unknown")


def encode(net: Net) -> ComputationGraph:
    """Return the computation graph of a network; what makes tuples of tensors is passed through, sizes are left out."""
    shapes = net.forward_shapes()
    nodes = [node for node in net.graph.nodes if node.op != "output" and node.name in shapes]
    place = {node.name: index for index, node in enumerate(nodes)}
    edges = sorted({(place[before.name], place[node.name]) for node in nodes for before in _sources(node, shapes)})
    return ComputationGraph(
        layers=tuple(str(node.target) if node.op == "call_module" else "" for node in nodes),
        kinds=torch.tensor([KINDS.index(_kind(net, node)) for node in nodes]),
        sizes=torch.tensor([_sizes(net, node, shapes) for node in nodes]),
        edges=torch.tensor(edges, dtype=torch.long).reshape(len(edges), 2).T.contiguous(),
    )


def union(graphs: Sequence[ComputationGraph]) -> tuple[ComputationGraph, Tensor]:
    """Return graphs side by side as one graph, and which of them each node is of, shape (nodes,).

    Raises: StudyError for no graph.
    """
    if not graphs:
        raise StudyError("graphs can be put side by side where there is at least one; got none.")
    counts = torch.tensor([len(graph.kinds) for graph in graphs])
    starts: list[int] = (counts.cumsum(0) - counts).tolist()
    merged = ComputationGraph(
        layers=tuple(name for graph in graphs for name in graph.layers),
        kinds=torch.cat([graph.kinds for graph in graphs]),
        sizes=torch.cat([graph.sizes for graph in graphs]),
        edges=torch.cat([graph.edges + start for graph, start in zip(graphs, starts, strict=True)], 1),
    )
    return merged, torch.arange(len(graphs)).repeat_interleave(counts)


def spectrum(graph: ComputationGraph, count: int) -> Tensor:
    """Return the `count` smallest eigenvalues of the normalised Laplacian of a graph, its edges taken both ways.

        L = I - D^-1/2 A D^-1/2,   0 = l_1 <= l_2 <= ... <= 2

    A graph of fewer nodes is filled up with the largest value there can be, 2.

    >>> kinds, sizes, edges = torch.zeros(2, dtype=torch.long), torch.zeros(2, SIZES), torch.tensor([[0], [1]])
    >>> [abs(round(v, 6)) for v in spectrum(ComputationGraph(("", ""), kinds, sizes, edges), 3).tolist()]
    [0.0, 2.0, 2.0]
    """
    nodes = len(graph.kinds)
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[graph.edges[0], graph.edges[1]] = 1.0
    adjacency = torch.maximum(adjacency, adjacency.T)
    scale = adjacency.sum(1).clamp_min(1.0).rsqrt()
    laplacian = torch.eye(nodes, dtype=torch.float64) - scale.unsqueeze(1) * adjacency * scale
    values: Tensor = torch.linalg.eigvalsh(laplacian)[:count]
    return torch.cat([values, values.new_full((count - len(values),), 2.0)])


def _sources(node: fx.Node, shapes: Mapping[str, Sequence[int]]) -> list[fx.Node]:
    """Return the nodes whose tensors a node reads; that a node reads a mere size of a tensor is no edge."""
    found = []
    for before in node.all_input_nodes:
        if before.name in shapes:
            found.append(before)
        elif "sym_size" not in operator_name(before.target):
            found += _sources(before, shapes)
    return found


def _kind(net: Net, node: fx.Node) -> str:
    if node.op == "call_function":
        return kind(operator_name(node.target))
    if node.op != "call_module":
        return "input" if node.op == "placeholder" else "parameter"
    layer = net.layer(str(node.target))
    alone = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == layer.in_channels > 1
    return "depthwise" if alone else kind(type(layer).__name__)


def _sizes(net: Net, node: fx.Node, shapes: Mapping[str, Sequence[int]]) -> list[float]:
    after = _extent(shapes[node.name][0 if node.op == "get_attr" else 1 :])
    before, kernel, weights = after, 1, math.prod(shapes[node.name]) if node.op == "get_attr" else 0
    for source in _sources(node, shapes)[:1]:
        before = _extent(shapes[source.name][0 if source.op == "get_attr" else 1 :])
    if node.op == "call_module":
        layer = net.layer(str(node.target))
        weights = sum(p.numel() for p in layer.parameters())
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            kernel = math.prod(layer.kernel_size)
    sizes = (before[0], after[0], before[1], after[1], kernel, weights)
    return [math.log2(1 + size) / 8 for size in sizes]


def _extent(shape: Sequence[int]) -> tuple[int, int]:
    """Return the channels and the positions of a tensor from its shape without the batch."""
    rest = list(shape)
    channels = rest.pop(0 if len(rest) > 2 else -1) if rest else 1
    return channels, math.prod(rest)
