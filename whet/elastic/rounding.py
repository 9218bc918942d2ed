"""Quantization for all: the sub-networks of a supernet compute as they will when they are quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import SpecError
from whet.core.net import Net
from whet.graph.fake_quantize import QUANTIZED, asymmetric_grid, fake_quantize
from whet.graph.grids import widest_scale

FEWEST_BITS = 2
MOMENTUM = 0.95
"""How much of a layer's range outlasts a training step in which a sub-network used the layer."""


class Rounding(nn.Module):
    """Rounds the weights and the inputs of convolutions and linear layers, in whichever sub-network they run.

    Weights of each output channel c, symmetric, and inputs x of a layer, one unsigned grid a tensor:

        w_c ~ s_c clamp(round(w_c / s_c)),           s_c = max |w_c| / (2^(bits - 1) - 1)
        x   ~ s (clamp(round(x / s) + z, 0, 2^bits - 1) - z),    s = (high - low) / (2^bits - 1),  z = round(-low / s)

    Gradients pass straight through. A layer's range [low, high] is one for all sub-networks: a moving average, over the
    training steps that used it, of the smallest and the largest input. A batch norm behind a layer is left alone:
    folding it scales each output channel of the weight, and with it that channel's grid, so the folded layer rounds to
    the same values. A sub-network taken out of a supernet trained so needs its ranges calibrated, and no training.

    `net` is the whole net of the supernet that is given it, `Supernet(rounding=...)`.

    Papers: Wang et al. 2023, SpaceEvo, whose quantized-for-all supernet learns its scales by gradient (LSQ+),
    where these are moving averages as in Jacob et al. 2018; Wang et al. 2020, APQ. Raises: SpecError for fewer
    bits than two.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, net: Net, bits: int = 8) -> None:
        super().__init__()
        if bits < FEWEST_BITS:
            raise SpecError(f"rounding needs at least {FEWEST_BITS} bits; got {bits}.")
        self.bits = bits
        self.index = {name: i for i, name in enumerate(_treated(net))}
        self.register_buffer("low", torch.zeros(len(self.index)))
        self.register_buffer("high", torch.zeros(len(self.index)))
        self.register_buffer("seen", torch.zeros(len(self.index), dtype=torch.bool))

    def weights(self, net: Net, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the rounded weights of a sub-network's layers, by name, from its `tensors` and in their shapes."""
        most = 2 ** (self.bits - 1) - 1
        found = {}
        for name in (f"{layer}.weight" for layer in _treated(net)):
            weight = tensors[name]
            scale = widest_scale(weight.detach().float().flatten(1), most)
            found[name] = fake_quantize(weight, scale, torch.zeros(len(scale), dtype=torch.int64), 0, -most, most)
        return found

    @contextmanager
    def inputs(self, net: Net) -> Iterator[None]:
        """Have the layers of a sub-network round what they read, as long as the context lasts."""
        with ExitStack() as stack:
            for name, layer in _treated(net).items():
                stack.callback(layer.register_forward_pre_hook(partial(self._hook, self.index[name])).remove)
            yield

    def _hook(self, index: int, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x: Tensor = args[0]
        if self.training:
            self._widen(index, x.detach())
        if not self.seen[index]:
            return args
        most = 2**self.bits - 1
        grid = asymmetric_grid(self.low[index], self.high[index], most)
        return fake_quantize(x, *grid, -1, 0, most), *args[1:]

    def _widen(self, index: int, x: Tensor) -> None:
        """Move a layer's range towards what it reads now; zero is always in it."""
        low, high = x.min().float().clamp(max=0.0), x.max().float().clamp(min=0.0)
        kept = MOMENTUM if self.seen[index] else 0.0
        self.low[index] = kept * self.low[index] + (1 - kept) * low
        self.high[index] = kept * self.high[index] + (1 - kept) * high
        self.seen[index] = True


def _treated(net: Net) -> dict[str, nn.Module]:
    return {name: layer for name, layer in net.layers().items() if type(layer) in QUANTIZED}
