"""Batch norms that follow a convolution or linear layer disappear into it."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.graph.fake_quantize import IntegerWeight, QuantizedConv1d, QuantizedConv2d, QuantizedLinear
from whet.graph.uses import used_once

INTEGERS = (QuantizedConv1d, QuantizedConv2d, QuantizedLinear)
FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *INTEGERS)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(net: Net) -> Net:
    """Return a copy in which each batch norm whose input only it reads is part of the layer before it.

    With `g = gamma / sqrt(var + eps)` the weight becomes `g * w` per output channel and the bias
    `g * (b - mean) + beta`: the same outputs in eval mode. Of an integer weight the scales are multiplied by `|g|`, and
    the integers are the same, with the sign of `g`.
    """
    net = net.copy()
    alone = used_once(net)
    for node in list(net.graph.nodes):
        pair = _pair(net, node, alone)
        if pair is not None:
            layer, norm = pair
            _fold(layer, norm)
            node.replace_all_uses_with(node.args[0])
            net.graph.erase_node(node)
    return net.settle()


def _pair(net: Net, node: fx.Node, alone: set[str]) -> tuple[nn.Module, nn.Module] | None:
    """Return the layer and the batch norm, at `node`, that can become one; `alone` are the layers used once."""
    if node.op != "call_module" or not isinstance(net.layer(str(node.target)), BATCH_NORMS):
        return None
    before = node.args[0]
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
        return None
    layer, norm = net.layer(str(before.target)), net.layer(str(node.target))
    if type(layer) not in FOLDABLE or norm.running_mean is None or not {before.target, node.target} <= alone:
        return None
    # A linear layer's features are the batch norm's channels only where its output is (batch, features).
    value = before.meta.get("val")
    if isinstance(layer, nn.Linear) and value is not None and value.dim() != 2:
        return None
    return layer, norm


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    weight, mean, variance = layer.weight, norm.running_mean, norm.running_var
    assert isinstance(weight, Tensor) and isinstance(mean, Tensor) and isinstance(variance, Tensor)
    assert isinstance(norm, BATCH_NORMS)
    gain = torch.rsqrt(variance + norm.eps)
    shift = torch.zeros_like(mean)
    if norm.affine:
        gain, shift = gain * norm.weight, norm.bias
    bias = layer.bias if isinstance(layer.bias, Tensor) else torch.zeros_like(mean)
    layer.weight = nn.Parameter(weight * gain.view(-1, *[1] * (weight.dim() - 1)), weight.requires_grad)
    layer.bias = nn.Parameter((bias - mean) * gain + shift, weight.requires_grad)
    if isinstance(layer, IntegerWeight):
        layer.weight_scale = (layer.weight_scale.view(len(gain), -1) * gain.abs().unsqueeze(1)).flatten()
