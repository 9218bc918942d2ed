"""Training binary weights as a square wave whose gradient is that of the sine of the same period."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from whet.core.checks import positive, share
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.zeros import holds
from whet.train.learned_steps import few_bits
from whet.train.technique import Hooks, Session

BEGUN = "square-wave.begun"


@dataclass(frozen=True)
class SquareWave:
    """Layers of few bits have two weights, s and -s: the sign of a sine of what is trained.

        w = s sin(f v)            for the first `smooth` share of the training
        w = s sign(sin(f v))      afterwards,    dw/dv = s f cos(f v)  in both

    Unlike a sign's straight-through gradient, this one is the true one of a function of the same period, vanishes where
    the sine is at an end, and lets a weight come to its other sign on either side. The `frequency` f says how far a
    weight has to go for it: the half of a period is pi / f; the mean squared distance of the sine from the wave, (sin -
    sign sin)^2, falls as f v comes to lie about its ends. s, of each output channel or group, begins as the mean of
    |v|, and is learned (`train.learned-steps`). For weights with large layers' deviations times f far above one the
    signs of a trained network are lost in the beginning: then take a lower frequency.

    At the end the weights are s and -s to the bit: integers 1 and -1 of the layer's grid, which files hold as such
    (`weight-only`, `int2`). Inputs stay as they are: no runtime here multiplies binary ones. Layers that hold zeros are
    skipped, as a binary weight has none.

    Paper: Vargas et al. 2024, BiPer: Binary Neural Networks using a Periodic Function (inputs are binary there, too).
    Raises: ValueRangeError for a frequency that is not positive, or a share outside of [0, 1].
    """

    frequency: float = 20.0
    smooth: float = 0.5
    paper: str = field(default="vargas2024biper", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("frequency", self.frequency)
        share("smooth", self.smooth)

    def begin(self, session: Session) -> Hooks:
        layers = zero_free(session)
        begun = session.keep(BEGUN, torch.zeros(()))
        for layer in layers:
            if not begun:  # a training that goes on has its scales by now
                start(layer)
            layer.in_training = partial(self._form, layer, session)
        begun.fill_(1.0)

        def end() -> None:
            for layer in layers:
                weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
                weight.copy_(self.binary(layer, weight))
                layer.in_training = None

        return Hooks(end=torch.no_grad()(end)) if layers else Hooks()

    def _form(self, layer: IntegerWeight, session: Session, weight: Tensor) -> Tensor:
        wave = torch.sin(self.frequency * layer.grid.rows(weight))
        if session.progress() >= self.smooth:
            wave = wave + (signs(wave) - wave).detach()
        return (layer.weight_scale.unsqueeze(1) * wave).view_as(weight)

    def binary(self, layer: IntegerWeight, weight: Tensor) -> Tensor:
        """Return the weight, of the same shape, as s and -s of its rows."""
        wave = torch.sin(self.frequency * layer.grid.rows(weight.detach()))
        return (layer.weight_scale.detach().unsqueeze(1) * signs(wave)).view_as(weight)


def signs(wave: Tensor) -> Tensor:
    """Return the sign of each number, 1 for zero.

    >>> signs(torch.tensor([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    return torch.where(wave >= 0, 1.0, -1.0)


@torch.no_grad()
def start(layer: IntegerWeight) -> None:
    """Set the scales to what is nearest to the weights for their signs: the mean magnitude of each row."""
    weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
    layer.weight_scale.copy_(layer.grid.rows(weight).abs().mean(1).clamp_min(1e-8))


def zero_free(session: Session) -> list[IntegerWeight]:
    """Return the layers of few bits that hold no zeros; say of the others why they are left out."""
    names = {id(module): name for name, module in session.module.named_modules()}
    found = few_bits(session.module)
    for layer in found:
        if holds(layer):  # type: ignore[arg-type]
            session.report.skipped[names[id(layer)]] = "it holds zeros, and weights without a zero were asked for"
    return [layer for layer in found if not holds(layer)]  # type: ignore[arg-type]
