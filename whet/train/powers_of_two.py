"""Training weights that are powers of two times a scale, none of them zero: their signs and powers apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import positive
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import CLIPS, widest_scale
from whet.train.beside import Beside
from whet.train.square_wave import signs, zero_free
from whet.train.technique import Hooks, Session

BEGUN = "powers-of-two.begun"


@dataclass(frozen=True)
class PowersOfTwo:
    """Layers of few bits have weights +-s 2^p with p in 0..P: no zero, and every product is a shift.

        w = s sign(v) 2^p,    p = S_P,    S_t = H(u_t) (S_{t-1} + 1),  S_0 = 0,    t = 1..P

    Signs come from the weights v that are trained anyway; powers from P tensors u_t of the same shape, by steps H (1
    for a positive number, else 0), which train beside them. Gradients pass the signs and the steps as if they were not
    there. P is what the layer's grid holds: 2 (1, 2, 4) of four bits, 1 of three, and of two only signs are left. u_t
    begin at +-`spread` so that each weight has the power nearest to it: near zero, so that powers change easily, which
    they hardly do where sign and power are of one tensor. s, of each output channel or group, is learned
    (`train.learned-steps`).

    At the end the weights are on the layer's grid to the bit, and files hold them as its integers. That shifts take
    less than products is true of other hardware; here it is the bytes that count. Layers that hold zeros are skipped.

    Paper: Li et al. 2023, DenseShift: Towards Accurate and Efficient Low-Bit Power-of-Two Quantization.
    Raises: ValueRangeError for a spread or a rate that is not positive.
    """

    spread: float = 1e-3
    rate: float = 1.0
    paper: str = field(default="li2023denseshift", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("spread", self.spread)
        positive("rate", self.rate)

    def begin(self, session: Session) -> Hooks:
        names = {id(module): name for name, module in session.module.named_modules()}
        begun = session.keep(BEGUN, torch.zeros(()))
        shifted = [_Shifted(names[id(layer)], layer, self, session, bool(begun)) for layer in zero_free(session)]
        begun.fill_(1.0)
        if not shifted:
            return Hooks()
        beside = Beside("powers-of-two", [each.steps for each in shifted], session, self.rate)
        for each in shifted:
            each.layer.in_training = each.form

        @torch.no_grad()
        def end() -> None:
            for each in shifted:
                weight: Tensor = each.layer._parameters["weight"]  # type: ignore[attr-defined]
                weight.copy_(each.form(weight))
                each.layer.in_training = None

        return Hooks(after_step=beside.step, end=end)


class _Shifted:
    """A layer with the tensors `(P, rows, weights of a row)` that say its weights' powers."""

    def __init__(self, name: str, layer: IntegerWeight, item: PowersOfTwo, session: Session, goes_on: bool) -> None:
        self.layer = layer
        weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
        rows, most = layer.grid.rows(weight.detach()), int(math.log2(layer.grid.most))
        scale = layer.weight_scale.detach() if goes_on else best_scale(rows, most)
        if not goes_on:
            with torch.no_grad():
                layer.weight_scale.copy_(scale)
        wanted = nearest_power(rows, scale, most)
        counted = torch.arange(most, 0, -1).view(-1, 1, 1)  # the last p of the P steps are up, those before are down
        steps = torch.where(wanted >= counted, item.spread, -item.spread)
        self.steps = session.keep(f"powers-of-two.{name}", steps).requires_grad_(True)

    def form(self, weight: Tensor) -> Tensor:
        """Return the weight as signs times powers of two times the scale, of its shape."""
        rows = self.layer.grid.rows(weight)
        sign = rows + (signs(rows) - rows).detach()
        magnitude = torch.exp2(power(self.steps)) * self.layer.weight_scale.unsqueeze(1)
        return (sign * magnitude).view_as(weight)


def power(steps: Tensor) -> Tensor:
    """Return S_P of P tensors u_t, `(P, ...)`: whole numbers from 0 to P, whose gradients pass straight through.

    >>> power(torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])).tolist()
    [2.0, 0.0, 1.0, 0.0]
    """
    found = torch.zeros_like(steps[0]) if len(steps) else steps.sum(0)
    for step in steps:
        up = step + ((step > 0).to(step.dtype) - step).detach()
        found = up * (found + 1)
    return found


def nearest_power(rows: Tensor, scale: Tensor, most: int) -> Tensor:
    """Return the p in 0..most with which scale 2^p is nearest to each magnitude, `(rows, n)`.

    >>> nearest_power(torch.tensor([[0.0, 1.4, -1.6, 2.9, 3.1, 90.0]]), torch.tensor([1.0]), 2).tolist()
    [[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]]
    """
    size = rows.abs() / scale.unsqueeze(1)
    found = torch.zeros_like(size)
    for p in range(1, most + 1):  # halfway between two powers lies 3/4 of the larger
        found = torch.where(size > 0.75 * 2**p, float(p), found)
    return found


def best_scale(rows: Tensor, most: int) -> Tensor:
    """Return the scales `(rows,)`, among CLIPS of the widest, with which powers of two are nearest to `(rows, n)`."""
    widest = widest_scale(rows, 2**most)
    best, least = widest, torch.full_like(widest, torch.inf)
    for clip in CLIPS:
        scale = widest * clip
        found = signs(rows) * torch.exp2(nearest_power(rows, scale, most)) * scale.unsqueeze(1)
        error = (rows - found).square().sum(1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best
