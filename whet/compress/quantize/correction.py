"""Bias correction: the mean of what quantization adds to a layer's outputs is taken out of its bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Inputs, Lockstep
from whet.core.net import Net
from whet.graph.fake_quantize import QUANTIZED
from whet.graph.uses import used_once


def corrected(net: Net, original: Net, batches: Sequence[Inputs]) -> Net:
    """Return a copy of a quantized net whose layers give the original's outputs in the mean of the batches.

        b' = b - E(y' - y),    y' = Q(W) Q(x') + b,    y = W x + b

    in the order of execution, x' being what the quantized net gives the layer with all layers before it corrected; so
    the means are equal all at once in the end. Layers without a bias and layers that are called twice stay as they are.
    (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction.)
    """
    net = net.copy()
    alone = used_once(net)
    kinds = tuple(QUANTIZED.values())
    nodes = {
        node.name: net.layer(str(node.target))
        for node in net.graph.nodes
        if node.op == "call_module" and str(node.target) in alone and isinstance(net.layer(str(node.target)), kinds)
    }
    nodes = {name: layer for name, layer in nodes.items() if layer.bias is not None}
    wanted = _means(original, nodes, batches)
    steps = Lockstep(net, batches)

    def shift(node: fx.Node) -> None:
        if node.name in nodes:
            layer = nodes[node.name]
            rows = [_rows(env[node], layer) for env in steps.values]
            error = sum(r.sum(0, dtype=torch.float64) for r in rows) / sum(map(len, rows)) - wanted[node.name]
            assert isinstance(layer.bias, Tensor) and isinstance(error, Tensor)
            layer.bias = nn.Parameter(layer.bias - error.to(layer.bias.dtype), layer.bias.requires_grad)
            for env in steps.values:
                env[node] = env[node] - error.to(env[node].dtype).view(-1, *[1] * (_axis(layer, env[node])))

    steps.run(after=shift)
    return net


def _means(net: Net, nodes: dict[str, nn.Module], batches: Sequence[Inputs]) -> dict[str, Tensor]:
    """Return the mean output of each node over the batches, one number a channel."""
    sums: dict[str, list[tuple[Tensor, int]]] = {name: [] for name in nodes}
    for inputs in batches:
        steps = Lockstep(net, [inputs])

        def collect(node: fx.Node, steps: Lockstep = steps) -> None:
            if node.name in nodes:
                rows = _rows(steps.values[0][node], nodes[node.name])
                sums[node.name].append((rows.sum(0, dtype=torch.float64), len(rows)))

        steps.run(after=collect)
    return {name: torch.stack([s for s, _ in parts]).sum(0) / sum(n for _, n in parts) for name, parts in sums.items()}


def _axis(layer: nn.Module, value: Tensor) -> int:
    """Return how many dimensions stand behind that of the channels."""
    return 0 if isinstance(layer, nn.Linear) else value.dim() - 2


def _rows(value: Tensor, layer: nn.Module) -> Tensor:
    """Return a layer's outputs as `(positions, channels)`."""
    channels = value if isinstance(layer, nn.Linear) else value.movedim(1, -1)
    return channels.reshape(-1, channels.shape[-1])
