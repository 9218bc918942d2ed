"""Least squares over the weights that are not zero: what is left of a pruned layer makes up for what went."""

from __future__ import annotations

from torch import Tensor

from whet.compress.moments import Moments

DAMPING = 1e-2
"""The damping of pruned layers; a search over several, as dense layers have it, costs several times as much."""
STEPS = 24
"""Steps of conjugate gradients; the first ones do most."""


def solved_on_support(found: Moments, weight: Tensor, damping: float = DAMPING, steps: int = STEPS) -> Tensor:
    """Return argmin_V E|y - V x - b|^2 + damping * mean(diagonal of xx) * |V - weight|^2 with the zeros of `weight`.

    Each row has a support of its own, so there is no common factor; all rows take steps of conjugate gradients at once,
    scaled by the diagonal, from `weight` on. The objective falls with every step. Shapes: `(groups, out / groups, d)`.
    """
    support = (weight != 0).double()
    diagonal = found.xx.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    ridge = damping * diagonal.mean(-1, keepdim=True).clamp(min=1e-30)
    v = weight.double()
    residual = (found.yx - v @ found.xx) * support
    scaled = residual / (diagonal + ridge)
    direction, power = scaled, (residual * scaled).sum(-1, keepdim=True)
    for _ in range(steps):
        image = (direction @ found.xx + ridge * direction) * support
        step = power / (direction * image).sum(-1, keepdim=True).clamp(min=1e-300)
        v, residual = v + step * direction, residual - step * image
        scaled = residual / (diagonal + ridge)
        before, power = power, (residual * scaled).sum(-1, keepdim=True)
        direction = scaled + power / before.clamp(min=1e-300) * direction
    return v.to(weight.dtype) if v.isfinite().all() else weight
