"""Weights of few values that lie where they are needed: each layer has its own of the integers of eight bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whet.compress.quantize.path_following import followed
from whet.compress.quantize.power_points import power_points
from whet.compress.quantize.rounding import steps_of
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.zeros import holds

ROUNDS = 300
"""Of moving each point to the mean of what is nearest to it: sixteen points of a normal distribution rest by then."""
FREELY = "freely"


@torch.no_grad()
def put_on_points(layer: nn.Module, moments: Tensor | None, spaced: str = FREELY) -> None:
    """Put the weight of a layer of integers on points of its own, in place, its zeros among them if it holds any.

    Points are those of `SPACINGS` for the weights, weighed by the squares of what they read; by moments,
    `(groups, d, d)`, weights are rounded so that each makes up for those before (`quantize.path-following`), without
    them to the nearest point.
    """
    assert isinstance(layer, IntegerWeight) and isinstance(layer, nn.Module)
    weight, count = layer.get_parameter("weight"), layer.grid.points
    rows = weight.detach().reshape(1 if moments is None else len(moments), -1, weight[0].numel())
    known = torch.eye(rows.shape[-1], dtype=torch.float64).expand(len(rows), -1, -1) if moments is None else moments
    steps = steps_of(rows, layer.grid, layer.weight_scale)
    power = known.diagonal(dim1=-2, dim2=-1).unsqueeze(1) * steps.square()
    points = SPACINGS[spaced]
    alphabet = points((rows / steps).flatten(), power.expand_as(rows).flatten(), count, holds(layer))
    held = rows == 0 if holds(layer) else None
    found = followed(rows, known, steps, alphabet.clamp(-layer.grid.most, layer.grid.most), held=held)
    weight.copy_(found.view_as(weight))


def quantization_points(values: Tensor, power: Tensor, count: int, with_zero: bool = False) -> Tensor:
    """Return whole numbers that values are near to, at most `count`, ascending: those of least weighted squared error.

        p_k = mean of what is nearest to p_k, weighted,    beginning at weighted quantiles (k + 1/2) / count

    which ends in a local minimum (Lloyd 1982, Least Squares Quantization in PCM). With `with_zero` the point nearest to
    zero is zero. Shapes: values and power `(n,)`; returned `(points,)`, in float64.

    >>> quantization_points(torch.tensor([-9.0, -9.0, 0.2, 0.4, 30.0, 31.0]), torch.ones(6), 3).tolist()
    [-9.0, 0.0, 30.0]
    """
    order = torch.argsort(values, stable=True)
    x, p = values[order].double(), power[order].double().clamp(min=1e-30)
    mass, moment = (torch.cat([torch.zeros(1).double(), s.cumsum(0)]) for s in (p, p * x))
    quantiles = (torch.arange(count).double() + 0.5) / count * mass[-1]
    points = x[torch.searchsorted(mass[1:], quantiles).clamp(max=len(x) - 1)]
    for _ in range(ROUNDS):
        ends = torch.searchsorted(x, (points[1:] + points[:-1]) / 2)
        ends = torch.cat([torch.zeros(1, dtype=torch.long), ends, torch.tensor([len(x)])])
        held = mass[ends[1:]] - mass[ends[:-1]]
        means = (moment[ends[1:]] - moment[ends[:-1]]) / held.clamp(min=1e-30)
        points = torch.where(held > 0, means, points)
    points = points.round()
    if with_zero:
        points[points.abs().argmin()] = 0.0
    found: Tensor = torch.unique(points)
    return found


SPACINGS = {FREELY: quantization_points, "by-power": power_points}
"""How points lie: each where it is needed, or all of them by one exponent."""
