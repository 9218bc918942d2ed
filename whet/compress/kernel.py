"""Kernel: crop convolutions to the centre of their kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Kernel:
    """Crop a k x k convolution to its s x s centre: `LAYER:kernel` in (smallest, ..., k - 2, k).

        weight' = weight[..., c : c + s, c : c + s],   padding' = padding - dilation * c,   c = (k - s) / 2

    The output keeps its shape and is what the whole kernel with zeros outside its centre gives. Work falls by
    (s / k)^2. Square kernels of odd size are treated whose padding is at least `dilation * c`.

    Paper: Cai et al. 2020, Once-for-All, whose smaller kernels are also multiplied by a learned matrix; here the
    cropped weights are trained as they are, which keeps a crop a selection, as `whet.elastic.supernet` needs it.
    """

    smallest: int = 1
    paper = "cai2020ofa"
    traits = Traits("structure", nests=True)

    def space(self, net: Net, target: Target) -> Space:
        choices = []
        for name, layer in net.layers().items():
            sizes = [s for s in self._sizes(layer) if not _obstacle(layer, s)]
            if len(sizes) > 1:
                choices.append(Choice(f"{name}:kernel", tuple(sizes), sizes[-1]))
        return Space(choices)

    def _sizes(self, layer: nn.Module) -> list[int]:
        """Return the kernel sizes that a layer may have, the last its own."""
        if not isinstance(layer, CONVOLUTIONS):
            return []
        return list(range(layer.kernel_size[0], self.smallest - 1, -2))[::-1]

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        copied = net.copy()
        layers, changed, skipped = copied.layers(), dict[str, str](), dict[str, str]()
        for choice, value in decision.items():
            name, _, kind = choice.rpartition(":")
            if kind != "kernel":
                continue
            layer, size = layers.get(name), int(value)
            reason = "no such layer is left in the network." if layer is None else _obstacle(layer, size)
            if reason or layer is None:
                skipped[name] = reason
            elif isinstance(layer, CONVOLUTIONS) and size != layer.kernel_size[0]:
                changed[name] = f"kernel {layer.kernel_size[0]} cropped to {size}"
                _crop(layer, size)
        return Result(copied, changes("smaller kernel", changed), skipped)


def _obstacle(layer: nn.Module, size: int) -> str:
    """Say why a layer cannot be cropped to `size`, or nothing."""
    if not isinstance(layer, CONVOLUTIONS):
        return f"it is a {type(layer).__name__}, not a convolution."
    kernel = layer.kernel_size
    if len(set(kernel)) > 1 or kernel[0] % 2 == 0:
        return f"its kernel is {'x'.join(map(str, kernel))}: only square kernels of odd size have a centre."
    if size > kernel[0] or size % 2 == 0 or size < 1:
        return f"a kernel of {kernel[0]} cannot be cropped to {size}."
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return f"its padding is '{layer.padding if isinstance(layer.padding, str) else layer.padding_mode}'."
    spare = (kernel[0] - size) // 2
    if any(p < d * spare for p, d in zip(layer.padding, layer.dilation, strict=True)):
        return f"its padding {layer.padding} is less than what a kernel of {size} leaves out."
    return ""


@torch.no_grad()
def _crop(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, size: int) -> None:
    spare = (layer.kernel_size[0] - size) // 2
    weight: Tensor = layer.weight
    for dim in range(2, weight.dim()):
        weight = weight.narrow(dim, spare, size)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=layer.weight.requires_grad)
    assert not isinstance(layer.padding, str)
    less = [p - d * spare for p, d in zip(layer.padding, layer.dilation, strict=True)]
    layer.kernel_size, layer.padding = tuple(size for _ in less), tuple(less)
