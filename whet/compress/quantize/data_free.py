"""Bias correction without data: the mean of what rounding adds is known from the statistics of batch norms."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.fold import BATCH_NORMS
from whet.graph.readers import find_readers
from whet.graph.rows import operator_name

CARRIED = ("slice", "pad", "mean", "flatten", "adaptive_avg_pool2d", "dropout")
"""Operations that leave the mean of a channel where it is, or move channels."""
UNKNOWN = "no batch norm tells the mean of what it reads"
Known = dict[fx.Node, tuple[Tensor, Tensor]]


@torch.no_grad()
def corrected_by_norms(net: Net, original: Net, sites: Collection[str]) -> tuple[Net, dict[str, str]]:
    """Return a copy of a net of rounded weights whose layers give the original's outputs in the mean, by its norms.

        b' = b - (Q(W) - W) E[x],    E[x] by `expected`

    Layers without a bias get one. Also returned is by site why others keep theirs. What zeros at the borders of a
    convolution take off the mean is not counted. The paper first evens out the ranges of weights across layers
    (`equalization`).

    Paper: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction.
    """
    net, means = net.copy(), expected(original)
    readers, kept = find_readers(original)[0], dict[str, str]()
    found = {reader.site: reader for reader in readers.values()}
    for site in sites:
        layer = net.layer(site)
        if not isinstance(layer, IntegerWeight) or not isinstance(layer, nn.Module):
            continue
        if site not in found or found[site].source not in means:
            kept[site] = UNKNOWN
            continue
        matrix = found[site].matrix(original).double()
        lost = _rounded(layer).view(matrix.shape).double() - matrix
        shift = (lost @ _inputs(matrix, means[found[site].source]).unsqueeze(-1)).flatten().float()
        bias = layer._parameters["bias"]
        layer.register_parameter("bias", nn.Parameter(-shift if bias is None else bias - shift))
    return net, kept


def _rounded(layer: IntegerWeight) -> Tensor:
    """Return the weight of a layer as it is stored, a row for each scale."""
    return layer.grid.nearest(layer.get_parameter("weight"), layer.weight_scale)  # type: ignore[attr-defined]


def _inputs(matrix: Tensor, mean: Tensor) -> Tensor:
    """Return the mean of a layer's inputs `(groups, d)` from that of its channels: each position of a kernel alike."""
    groups, _, inputs = matrix.shape
    return mean.repeat_interleave(groups * inputs // len(mean)).view(groups, inputs)


def expected(net: Net) -> dict[str, Tensor]:
    """Return by node the mean of each channel, `(channels,)` in float64, where batch norms tell it.

        after a norm: mean beta, variance gamma^2; what it gives is taken to be normal
        after a ReLU: `rectified`;    of a sum: the sums of means and of variances, its terms taken to be independent

    The paper goes from a norm through one activation; sums, and what follows them, are inferred.
    """
    known: Known = {}
    for node in net.graph.nodes:
        if (found := _of_norm(net, node) or _of_others(node, known)) is not None:
            known[node] = found
    return {node.name: mean.flatten() for node, (mean, _) in known.items()}


def _of_norm(net: Net, node: fx.Node) -> tuple[Tensor, Tensor] | None:
    layer = net.layer(str(node.target)) if node.op == "call_module" else None
    if not isinstance(layer, BATCH_NORMS) or not layer.affine:
        return None
    shape = (1, -1) if isinstance(layer, nn.BatchNorm1d) else (1, -1, 1, 1)
    return layer.bias.detach().double().view(shape), layer.weight.detach().double().square().view(shape)


def _of_others(node: fx.Node, known: Known) -> tuple[Tensor, Tensor] | None:
    """Return mean and variance of an operation's channels from those of what it reads; None where they are unknown."""
    read = node.all_input_nodes
    if node.op != "call_function" or not read or not all(n in known for n in read):
        return None
    name = operator_name(node.target)
    if name == "relu":
        return rectified(*known[read[0]])
    if name in ("add", "add_") and len(node.args) == len(read) == 2 and not node.kwargs:
        (a, u), (b, v) = known[read[0]], known[read[1]]
        return (a + b, u + v) if a.shape == b.shape else None
    if name not in CARRIED or len(read) != 1:
        return None
    mean, variance = (node.target(each, *node.args[1:], **node.kwargs) for each in known[read[0]])  # type: ignore[operator]
    return (mean, variance) if math.prod(mean.shape) == mean.shape[1] else None


def rectified(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of max(x, 0) for a normal x, in the shape that is given.

        E max(x, 0) = m P(z) + s p(z),    E max(x, 0)^2 = (m^2 + s^2) P(z) + m s p(z),    z = m / s

    with p and P density and distribution of the standard normal, m the mean of x and s its deviation.
    """
    deviation = variance.sqrt().clamp(min=1e-12)
    z = mean / deviation
    density, below = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi), torch.special.ndtr(z)
    first = mean * below + deviation * density
    second = (mean.square() + variance) * below + mean * deviation * density
    return first, (second - first.square()).clamp(min=0)
