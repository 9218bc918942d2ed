"""Batch norms put back behind convolutions that an exporter folded them into."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.task import Batches, first_inputs, rows_of
from whet.graph.uses import used_once

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BATCH_NORMS = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}
OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
FILTER_NORM = math.sqrt(2)
"""The root mean square norm of a layer's filters: that of He's initialization, which learning rates are made for."""


@torch.no_grad()
def restore_batch_norms(net: Net, batches: Batches, samples: int = 256) -> tuple[Net, dict[str, str]]:
    """Return a copy with a batch norm behind each convolution that lacks one, and why others were left, by layer.

    With mean m and variance v of a convolution's outputs z over the data, the norm
    `sqrt(v + eps) (z - m) / sqrt(v + eps) + m` changes nothing: the outputs stay as they are. Filters are scaled by one
    factor a layer, which the norm takes back. Afterwards a cut network's statistics can be estimated again, and it
    trains as one with norms does; without them a channel that is cut shifts all that follows. A network is left whole
    (and the dictionary empty) where no norm can have been folded: with norms of another kind, or with a batch norm
    directly behind a convolution.

    Raises: CalibrationError without any batch.
    Paper: Ioffe and Szegedy 2015 (batch normalization), whose inference form this undoes.
    """
    net = net.copy().eval()
    convolutions = {n: layer for n in net.graph.nodes if isinstance(layer := _layer(net, n), Convolution)}
    if _has_norms(net, convolutions):
        return net, {}
    shapes, alone = net.forward_shapes(), used_once(net)
    reasons = {n: _why_not(net, n, layer, shapes[n.name], alone) for n, layer in convolutions.items()}
    left = {str(n.target): why for n, why in reasons.items() if why}
    normed = {n: layer for n, layer in convolutions.items() if str(n.target) not in left}
    moments = _statistics(net, list(normed.values()), batches, samples)
    for (node, layer), (mean, variance) in zip(normed.items(), moments, strict=True):
        _insert(net, node, layer, mean, variance)
    return net.settle(), left


def _layer(net: Net, node: fx.Node) -> nn.Module | None:
    return net.layer(str(node.target)) if node.op == "call_module" else None


def _has_norms(net: Net, convolutions: dict[fx.Node, Convolution]) -> bool:
    behind = [_layer(net, user) for node in convolutions for user in node.users]
    if any(isinstance(layer, tuple(BATCH_NORMS.values())) for layer in behind):
        return True
    return any(isinstance(layer, OTHER_NORMS) for layer in net.layers().values())


def _why_not(net: Net, node: fx.Node, layer: Convolution, shape: tuple[int, ...], alone: set[str]) -> str | None:
    """Return why no norm was folded into a convolution, or None; `alone` are the layers used once."""
    if node.target not in alone:
        return "its weights are used more than once"
    if layer.bias is None:
        return "it has no bias, which a folded norm would have left"
    if math.prod(shape[2:]) == 1:
        return "its outputs have one position, too few for statistics"
    if not _feeds_a_layer(net, node):
        return "it makes the network's output"
    return None


def _feeds_a_layer(net: Net, node: fx.Node) -> bool:
    """Say whether another layer with weights reads, directly or not, what a node makes."""
    seen, todo = {node}, [node]
    while todo:
        for user in todo.pop().users:
            layer = _layer(net, user)
            if layer is not None and any(p.dim() > 1 for p in layer.parameters()):
                return True
            if user not in seen:
                seen.add(user)
                todo.append(user)
    return False


def _statistics(net: Net, layers: list[Convolution], batches: Batches, samples: int) -> list[tuple[Tensor, Tensor]]:
    """Return mean and variance of each layer's outputs, by channel, over the first `samples` samples."""
    sums = [torch.zeros(3, layer.out_channels, dtype=torch.float64) for layer in layers]

    def record(total: Tensor, value: Tensor) -> None:
        rows = value.double().movedim(1, 0).flatten(1)
        total += torch.stack([torch.full_like(rows[:, 0], rows.shape[1]), rows.sum(1), (rows**2).sum(1)])

    hooks = [
        layer.register_forward_hook(lambda module, given, value, total=total: record(total, value))
        for layer, total in zip(layers, sums, strict=True)
    ]
    seen = 0
    try:
        for inputs in first_inputs(batches, samples):
            net(*inputs)
            seen += rows_of(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise CalibrationError("there are no batches to take the convolutions' statistics from.")
    moments = [(total / count, squares / count) for count, total, squares in sums]
    return [(mean, (square - mean**2).clamp(min=0)) for mean, square in moments]


def _insert(net: Net, node: fx.Node, layer: Convolution, mean: Tensor, variance: Tensor) -> None:
    """Put the norm behind its convolution, whose bias it takes over."""
    assert layer.bias is not None
    scale = FILTER_NORM / max(float(layer.weight.flatten(1).norm(dim=1).square().mean().sqrt()), 1e-12)
    norm = BATCH_NORMS[type(layer)](layer.out_channels)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(scale * (mean - layer.bias.double()))
    norm.running_var.copy_(scale**2 * variance)
    norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt() / scale)
    norm.bias.copy_(mean)
    layer.weight.mul_(scale)
    layer.bias = None
    name = f"{node.target}_norm"
    while name in dict(net.module.named_modules()):
        name += "_"
    net.module.add_submodule(name, norm.eval())
    with net.graph.inserting_after(node):
        call = net.graph.call_module(name, (node,))
    node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
    call.meta = dict(node.meta)
