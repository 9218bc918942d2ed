"""Smoothing: outlying features are scaled down before they are rounded, and what reads them is scaled up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from whet.compress.quantize.calibration import Rows
from whet.compress.quantize.observers import Grid, Observer, min_max
from whet.core.net import Net
from whet.graph.fake_quantize import ACTIVATION_MAX
from whet.graph.grids import INT8
from whet.graph.uses import used_once

STRENGTHS = (0.25, 0.5, 0.75, 0.95)
"""Of these the packaged MiniLM's layers took .75 and .95, the two largest, all of them."""
WORTH = 0.75
"""Of the predicted error without smoothing; a factor that leaves more of it is not worth a multiplication."""
SCALED_BACK = (nn.LayerNorm, nn.RMSNorm, nn.Linear)
PASSED = ("aten.relu.default", "aten.dropout.default")


def smoothing_factor(most: Tensor, weight: Tensor, strength: float) -> Tensor:
    """Return what each feature is multiplied by, of geometric mean 1.

        f_j = max|W_j|^(1 - strength) / max|x_j|^strength,    W x = (W / f) (f x)

    Shapes: most, the largest |x_j|, and the result `(features,)`, weight `(out, features)`. With strength 1 all
    features are equally large, with 0 all columns of the weight are. (Xiao et al. 2023, SmoothQuant; there f is 1 / s.)
    """
    factor = weight.abs().amax(0).clamp_min(1e-5) ** (1 - strength) / most**strength
    return factor / factor.log().mean().exp()


def predicted_error(rows: Rows, weight: Tensor, scale: float, zero: int) -> float:
    """Return what rounding both, features and weights, adds to the outputs' squared error, summed over outputs.

        sum_j |W_j|^2 E(Q(x_j) - x_j)^2 + |Q(W_j) - W_j|^2 Var x_j

    The errors of different features are taken to be independent, means to be made up for by a bias.
    Shapes: rows `(n, in)`, weight `(out, in)`.
    """
    x = rows.values
    rounded = (torch.clamp(torch.round(x / scale) + zero, 0, ACTIVATION_MAX) - zero) * scale
    step = INT8.scale(weight)
    lost = INT8.integers(weight, step) * step.unsqueeze(-1) - weight
    of_inputs = (weight.square().sum(0) * (rounded - x).square().mean(0)).sum()
    return float(of_inputs + (lost.square().sum(0) * x.var(0, unbiased=False)).sum())


@dataclass(frozen=True)
class Smoothing:
    """The factor of each feature of a tensor, and the grid that the product lies on."""

    factor: Tensor
    scale: float
    zero: int


def smoothed(rows: Rows, weight: Tensor, observer: Observer, grid: Grid) -> Smoothing | None:
    """Return the smoothing of least predicted error; None where no strength is `WORTH` it.

    `weight` holds all rows of all layers that read the tensor, `(out, features)`. Of each strength the range that
    `observer` gives and the whole range are tried: what looks like few values cut off may be all of one feature's.
    """
    best, least = None, WORTH * predicted_error(rows, weight, *grid(*observer(rows.seen(), grid)))
    for strength in STRENGTHS:
        factor = smoothing_factor(rows.most, weight, strength)
        scaled = rows.times(factor)
        for found in dict.fromkeys((observer(scaled.seen(), grid), min_max(scaled.seen()))):
            scale, zero = grid(*found)
            error = predicted_error(scaled, weight / factor, scale, zero)
            if error < least:
                best, least = Smoothing(factor, scale, zero), error
    return best


@torch.no_grad()
def divide_inputs(layer: nn.Module, factor: Tensor) -> None:
    """Divide the weight `(out, in)` of a linear layer by the factor `(in,)` of each feature that it reads."""
    assert isinstance(layer, nn.Linear)
    layer.weight = nn.Parameter(layer.weight / factor, layer.weight.requires_grad)


@torch.no_grad()
def multiplied_before(net: Net, source: fx.Node, readers: Sequence[fx.Node], factor: Tensor) -> bool:
    """Multiply a tensor by `factor`, of shape `(features,)`, in the layer that makes it; say whether that is exact.

    It is where the readers alone read it, behind a norm or a linear layer, with at most ReLU and dropout in between:
    `relu(f x) = f relu(x)` for positive f.
    """
    users = set(readers)
    while set(source.users) == users and source.op == "call_function" and str(source.target) in PASSED:
        users, source = {source}, source.all_input_nodes[0]
    if set(source.users) != users or source.op != "call_module" or str(source.target) not in used_once(net):
        return False
    layer = net.layer(str(source.target))
    if isinstance(layer, nn.Dropout):
        return multiplied_before(net, source.all_input_nodes[0], [source], factor)
    if not isinstance(layer, SCALED_BACK) or layer.weight is None or len(layer.weight) != len(factor):
        return False
    if not isinstance(layer, nn.Linear) and layer.weight.dim() != 1:
        return False
    for name in ("weight", "bias"):
        old = layer._parameters.get(name)
        if old is not None:
            wide = factor.unsqueeze(-1) if old.dim() == 2 else factor
            setattr(layer, name, nn.Parameter(old * wide, old.requires_grad))
    return True
