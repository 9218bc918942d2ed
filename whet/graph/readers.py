"""`Reader`: a layer that is linear in what it reads, as one matrix product a position, whatever it is written as."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from whet.core.net import Net
from whet.graph.rows import bind, operator_name

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Kind = Literal["layer", "product", "convolution", "transposed", "recurrent"]
PRODUCTS: dict[str, tuple[str, str, str, Kind]] = {
    "aten.linear.default": ("input", "weight", "bias", "layer"),
    "aten.addmm.default": ("mat1", "mat2", "self", "product"),
    "aten.mm.default": ("self", "mat2", "", "product"),
    "aten.matmul.default": ("self", "other", "", "product"),
}
"""Products with a matrix: the arguments that are read, weight and bias; the weight of a product is (in, out)."""

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@dataclass(frozen=True)
class Reader:
    """A layer y = W x + b at every position, for one call of the graph.

    Of a recurrent layer it is what the first of its cells adds to what comes back from the state.

    `node` is the call's name, `source` that of what it reads; `site` is the layer's dotted name, or the weight's where
    no layer holds it; `weight` and `bias` name the parameters. The matrix of a weight is `(groups, out / groups,
    inputs)`, where a convolution's inputs are the patch `(in / groups, kernel)` that one position reads; a linear layer
    has one group.
    """

    node: str
    source: str
    site: str
    weight: str
    bias: str | None
    kind: Kind = "layer"

    @property
    def channel_axis(self) -> int:
        """The axis of inputs and outputs that the matrix runs over."""
        return 1 if self.kind in ("convolution", "transposed") else -1

    @property
    def out_axis(self) -> int:
        """The dimension of the weight that runs over the outputs (of one group, if it is transposed)."""
        return 1 if self.kind in ("product", "transposed") else 0

    def matrix(self, net: Net) -> Tensor:
        """Return the weight as `(groups, out / groups, inputs)`."""
        weight = net.module.get_parameter(self.weight).detach()
        if self.channel_axis == -1:
            return (weight.T if self.kind == "product" else weight).unsqueeze(0)
        groups = _groups(net, self.site)
        if self.kind == "transposed":
            turned = weight.flip(list(range(2, weight.dim())))
            weight = turned.reshape(groups, -1, *turned.shape[1:]).transpose(1, 2)
        return weight.reshape(groups, -1, math.prod(weight.shape[2 if self.kind == "transposed" else 1 :]))

    @torch.no_grad()
    def assign(self, net: Net, matrix: Tensor) -> None:
        """Write a matrix, shaped as `matrix` returns it, into the weight in place."""
        weight = net.module.get_parameter(self.weight)
        if self.kind == "product":
            matrix = matrix[0].T
        elif self.kind == "transposed":
            groups, outside, _ = matrix.shape
            matrix = matrix.reshape(groups, outside, len(weight) // groups, *weight.shape[2:])
            matrix = matrix.transpose(1, 2).flip(list(range(3, matrix.dim())))
        weight.copy_(matrix.reshape(weight.shape))

    def columns(self, net: Net, atoms: Tensor) -> Tensor:
        """Return the columns of the matrix that read each atom, `(number of atoms, columns an atom)`.

        `atoms` says of each element of the weight's input dimension which atom it is, -1 for none.
        """
        weight = net.module.get_parameter(self.weight)
        kernel = math.prod(weight.shape[2:])
        order = torch.argsort(atoms, stable=True)[int((atoms < 0).sum()) :].view(int(atoms.max()) + 1, -1)
        return (order.unsqueeze(-1) * kernel + torch.arange(kernel)).flatten(1)

    @torch.no_grad()
    def given(self, net: Net, value: Any, x: Tensor) -> Tensor:
        """Return y where the call gives `value` and reads x."""
        if self.kind != "recurrent":
            assert isinstance(value, Tensor)
            return value
        bias = net.module.get_parameter(self.bias) if self.bias is not None else None
        return F.linear(x, net.module.get_parameter(self.weight), bias)

    def positions(self, y: Tensor) -> tuple[int, ...]:
        """Return the lengths of the axes, the batch among them, that outputs `y` have one row for."""
        return tuple(y.movedim(self.channel_axis, -1).shape[:-1])

    @torch.no_grad()
    def fits(self, net: Net, x: Tensor, positions: Sequence[int]) -> bool:
        """Say whether the layer has one output for each position when it reads x."""
        if self.channel_axis == -1:
            return tuple(x.shape[:-1]) == tuple(positions)
        return (len(x), *net.layer(self.site)(x[:1]).shape[2:]) == tuple(positions)

    def inputs(self, net: Net, x: Tensor, positions: Sequence[int], chosen: Tensor) -> Tensor:
        """Return what the layer reads at the `chosen` of its positions, `(groups, chosen, inputs)`."""
        if self.channel_axis == -1:
            return x.reshape(-1, x.shape[-1])[chosen].unsqueeze(0)
        patches, groups = _patches(net.layer(self.site), x, tuple(positions[1:]), chosen), _groups(net, self.site)
        rows, kernel, channels = patches.shape
        return patches.view(rows, kernel, groups, channels // groups).permute(2, 0, 3, 1).flatten(2)

    def outputs(self, y: Tensor, chosen: Tensor) -> Tensor:
        """Return the rows of `y`, or of any tensor of its shape, at the `chosen` positions: `(chosen, out)`."""
        last = y.movedim(self.channel_axis, -1)
        return last[_unravelled(chosen, last.shape[:-1])]


def _groups(net: Net, site: str) -> int:
    groups = net.layer(site).groups
    assert isinstance(groups, int)
    return groups


def _patches(layer: Any, x: Tensor, size: tuple[int, ...], chosen: Tensor) -> Tensor:
    """Return `(chosen, positions of the kernel, in_channels)`.

    A transposed convolution reads its input with zeros between. Positions are rows of channels in memory, as most
    activations are anyway, so that taking them is copying rows.
    """
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if isinstance(layer, TRANSPOSED):
        x = _spread(x, stride)
        before = [r - p for r, p in zip(reach, layer.padding, strict=True)]
        after = [s + r - b - n for s, r, b, n in zip(size, reach, before, x.shape[2:], strict=True)]
        stride = (1,) * len(stride)
    elif layer.padding == "same":
        before = [r // 2 for r in reach]
        after = [r - b for r, b in zip(reach, before, strict=True)]
    else:
        before = after = [0] * len(reach) if layer.padding == "valid" else list(layer.padding)
    pads = [p for pair in reversed(list(zip(before, after, strict=True))) for p in pair]
    x = F.pad(x, pads)  # a lifted convolution pads with zeros alone: other paddings are operations of their own
    rows = x.movedim(1, -1).flatten(0, -2)
    sample, *corner = _unravelled(chosen, (len(x), *size))
    first = _ravelled([sample, *(i * s for i, s in zip(corner, stride, strict=True))], x.shape[2:])
    inside = torch.cartesian_prod(*(torch.arange(k) * d for k, d in zip(kernel, dilation, strict=True)))
    offsets = _ravelled([torch.tensor(0), *inside.view(-1, len(kernel)).T], x.shape[2:])
    index = (first.unsqueeze(1) + offsets).flatten()
    return rows.index_select(0, index).view(len(chosen), len(offsets), -1)


def _spread(x: Tensor, stride: Sequence[int]) -> Tensor:
    """Return x with `stride - 1` zeros between neighbours."""
    size = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    wide = x.new_zeros((*x.shape[:2], *size))
    wide[(slice(None), slice(None), *(slice(None, None, s) for s in stride))] = x
    return wide


def _unravelled(index: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    found = []
    for size in reversed(shape):
        found.append(index % size)
        index = index // size
    return tuple(reversed(found))


def _ravelled(index: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return the flat index of what lies at `index`, of which the first runs over an axis of any length."""
    first, *others = index
    for i, size in zip(others, sizes, strict=True):
        first = first * size + i
    return first


def find_readers(net: Net) -> tuple[dict[str, Reader], dict[str, tuple[str, str]]]:
    """Return the readers by node, in the order of execution, and by node site and reason of other layers with weights.

    A weight that several calls read, or that something else reads too, is skipped: no single matrix serves both.
    """
    counts: dict[int, int] = {}
    for node in net.graph.nodes:
        for tensor in _matrices(net, node):
            counts[id(tensor)] = counts.get(id(tensor), 0) + 1
    found: dict[str, Reader] = {}
    skipped: dict[str, tuple[str, str]] = {}
    for node in net.graph.nodes:
        reader = reader_of(net, node)
        if reader is None:
            if reason := _why_none(net, node):
                skipped[node.name] = (_site(net, node), reason)
        elif counts[id(net.module.get_parameter(reader.weight))] > 1:
            skipped[node.name] = (reader.site, "its weight is read in several places: no one solution serves them all.")
        else:
            found[node.name] = reader
    return found, skipped


def _matrices(net: Net, node: fx.Node) -> list[Tensor]:
    """Return the parameters of two and more dimensions that a node reads, once for each user of a `get_attr`."""
    if node.op == "call_module":
        return [p for p in net.layer(str(node.target)).parameters() if p.dim() > 1]
    if node.op != "get_attr":
        return []
    tensor = dict(net.module.named_parameters(remove_duplicate=False)).get(str(node.target))
    return [tensor] * len(node.users) if tensor is not None and tensor.dim() > 1 else []


def reader_of(net: Net, node: fx.Node) -> Reader | None:
    """Return the reader at a node of the graph, None where it is no linear map with weights of its own."""
    if node.op == "call_module":
        layer, site, source = net.layer(str(node.target)), str(node.target), node.args[0]
        if not isinstance(layer, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)) or not isinstance(source, fx.Node):
            return None
        bias = f"{site}.bias" if layer.bias is not None else None
        kind: Kind = "layer" if isinstance(layer, nn.Linear) else "convolution"
        kind = "transposed" if isinstance(layer, TRANSPOSED) else kind
        return Reader(node.name, source.name, site, f"{site}.weight", bias, kind)
    if node.op == "call_function" and operator_name(node.target) in RECURRENT:
        return _recurrent(net, node)
    if node.op != "call_function" or str(node.target) not in PRODUCTS:
        return None
    read, weight, bias, kind = PRODUCTS[str(node.target)]
    given = bind(node)
    x, w, b = (given.get(name) for name in (read, weight, bias))
    parameters = dict(net.module.named_parameters(remove_duplicate=False))
    if not isinstance(x, fx.Node) or x.op == "get_attr" or not _holds(parameters, w, 2):
        return None
    assert isinstance(w, fx.Node)
    if b is not None and not _holds(parameters, b, 1):
        return None
    name = str(w.target)
    return Reader(node.name, x.name, name, name, str(b.target) if isinstance(b, fx.Node) else None, kind)


def _recurrent(net: Net, node: fx.Node) -> Reader | None:
    """Return the first cell of a recurrent layer of one direction as what it is for its input: a linear layer."""
    given = bind(node)
    x, params = given.get("input"), given.get("params")
    if given.get("bidirectional") or not isinstance(x, fx.Node) or not params:
        return None
    parameters = dict(net.module.named_parameters(remove_duplicate=False))
    if not _holds(parameters, params[0], 2) or (given["has_biases"] and not _holds(parameters, params[2], 1)):
        return None
    name, bias = str(params[0].target), str(params[2].target) if given["has_biases"] else None
    return Reader(node.name, x.name, name, name, bias, "recurrent")


def _holds(parameters: dict[str, nn.Parameter], node: object, dims: int) -> bool:
    """Say whether a node is a parameter of so many dimensions."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return False
    tensor = parameters.get(str(node.target))
    return tensor is not None and tensor.dim() == dims


def _site(net: Net, node: fx.Node) -> str:
    """Return the name of a layer, or of what holds the first parameter that an operation reads."""
    if node.op == "call_module":
        return str(node.target)
    read = [str(i.target) for i in node.all_input_nodes if i.op == "get_attr"]
    return read[0].rpartition(".")[0] or read[0] if read else node.name


def _why_none(net: Net, node: fx.Node) -> str:
    """Return why a node that mixes features is no reader; nothing for what has no matrix."""
    if node.op == "call_module" and not isinstance(net.layer(str(node.target)), nn.Embedding):
        shapes = [tuple(p.shape) for p in net.layer(str(node.target)).parameters()]
        if any(len(s) > 1 and math.prod(s) > max(s) for s in shapes):
            return f"a {type(net.layer(str(node.target))).__name__} is not linear in what it reads."
    if operator_name(node.target) in RECURRENT:
        return "a recurrent layer of two directions, or one whose weights are computed, is not solved."
    return ""
