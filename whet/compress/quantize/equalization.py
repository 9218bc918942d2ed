"""Cross-layer equalization: what channels are divided by in one layer the next one multiplies; ranges become even."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.graph.fold import BATCH_NORMS
from whet.graph.readers import Reader, find_readers
from whet.graph.rows import operator_name
from whet.graph.uses import used_once

PASSED = (
    "relu",
    "leaky_relu",
    "dropout",
    "pad",
    "constant_pad_nd",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "mean",
)
"""What gives f y for f x, channel by channel, f above zero: where filled with anything, with zeros."""
MOST_ROUNDS, EVEN = 40, 1e-3
"""Rounds over all pairs, until no factor is farther from one than this."""


@dataclass(frozen=True)
class Pair:
    """A layer whose output channels can be scaled, with the norm behind it if there is one, and the layer behind."""

    first: Reader
    norm: str
    second: Reader


@torch.no_grad()
def equalized(net: Net) -> tuple[Net, dict[str, int]]:
    """Return a copy that computes the same with even ranges of weights, and by layer how many channels were scaled.

        W1_i <- W1_i / f_i,    b1_i <- b1_i / f_i,    W2_(., i) <- f_i W2_(., i),    f_i = sqrt(r1_i / r2_i)

    for each channel i between two layers with nothing but ReLU, pooling and the like in between, r1_i and r2_i being
    the largest weight that makes it and that reads it: both become sqrt(r1_i r2_i). Pairs follow one another until
    nothing changes. Where a batch norm stands behind the first layer r1 counts it as folded, and its scale and shift
    are divided: so what norms tell of inputs stays true (`data_free`). Not only weights gain: activations, whose
    channels share a grid, become alike.

    The paper then moves shifts that are large beside the deviation into the next layer; that is left out, as zeros at
    the borders of a convolution make it inexact.
    Paper: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction.
    """
    net, found = net.copy(), dict[str, int]()
    several = list(pairs(net))
    for _ in range(MOST_ROUNDS):
        farthest = 0.0
        for pair in several:
            factor = _factor(net, pair)
            _divide(net, pair, factor)
            found[pair.first.site] = max(found.get(pair.first.site, 0), int(((factor - 1).abs() > EVEN).sum()))
            farthest = max(farthest, float((factor.log()).abs().max()))
        if farthest <= EVEN:
            break
    return net, found


def pairs(net: Net) -> Iterator[Pair]:
    """Yield the layers that follow one another so, in the order of execution."""
    alone = used_once(net)
    readers = {
        node: r for node, r in find_readers(net)[0].items() if r.site in alone and r.kind in ("layer", "convolution")
    }
    for node in net.graph.nodes:
        if node.name not in readers:
            continue
        norm, at = "", node
        user = _only_user(at)
        if (
            user is not None
            and user.op == "call_module"
            and _is_affine(net.layer(str(user.target)), str(user.target), alone)
        ):
            norm, at = str(user.target), user
        while (user := _only_user(at)) is not None and _passes(net, user):
            at = user
        if user is not None and user.name in readers and _fits(net, readers[node.name], readers[user.name]):
            yield Pair(readers[node.name], norm, readers[user.name])


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_affine(layer: nn.Module, site: str, alone: set[str]) -> bool:
    return isinstance(layer, BATCH_NORMS) and bool(layer.affine) and site in alone


def _passes(net: Net, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(net.layer(str(node.target)), nn.Dropout)
    if operator_name(node.target) == "mean":
        return node.args[1] == [2, 3] or node.args[1] == [-1, -2] or node.args[1] == [-2, -1]
    filled = operator_name(node.target) not in ("pad", "constant_pad_nd") or not any(node.args[2:])
    return node.op == "call_function" and operator_name(node.target) in PASSED and filled


def _fits(net: Net, first: Reader, second: Reader) -> bool:
    """Say whether what the second layer reads are the channels that the first one gives."""
    made = net.module.get_parameter(first.weight).shape[0]
    return bool(_by_input(net, second).shape[0] == made)


def _by_input(net: Net, reader: Reader) -> Tensor:
    """Return the weights that read each channel, a view: `(channels, out / groups, positions of the kernel)`."""
    weight = net.module.get_parameter(reader.weight)
    groups = reader.matrix(net).shape[0]
    grouped = weight.view(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return grouped.transpose(1, 2).reshape(groups * weight.shape[1], weight.shape[0] // groups, -1)


def _factor(net: Net, pair: Pair) -> Tensor:
    """Return what each channel is divided by, one where nothing makes or reads it."""
    made = net.module.get_parameter(pair.first.weight).flatten(1).abs().amax(1)
    if pair.norm:
        norm = net.layer(pair.norm)
        assert isinstance(norm, BATCH_NORMS) and norm.running_var is not None
        made = made * norm.weight.abs() * torch.rsqrt(norm.running_var + norm.eps)
    read = _by_input(net, pair.second).abs().amax((1, 2))
    return torch.where((made > 0) & (read > 0), (made / read.clamp(min=1e-30)).sqrt(), 1.0)


def _divide(net: Net, pair: Pair, factor: Tensor) -> None:
    scaled = [f"{pair.norm}.weight", f"{pair.norm}.bias"] if pair.norm else [pair.first.weight, pair.first.bias]
    for name in filter(None, scaled):
        tensor = net.module.get_parameter(name)
        tensor.div_(factor.view(-1, *[1] * (tensor.dim() - 1)))
    weight, groups = net.module.get_parameter(pair.second.weight), pair.second.matrix(net).shape[0]
    each = factor.view(groups, 1, -1, 1)
    weight.view(groups, weight.shape[0] // groups, weight.shape[1], -1).mul_(each)
