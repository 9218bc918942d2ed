"""Rounding by second moments: what one weight loses on its grid the weights after it make up for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whet.compress.moments import inputs_of, moments
from whet.compress.quantize.rounders import COMPENSATED, rounder
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.run import Run
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import CLIPS, Grid, widest_scale
from whet.graph.last_known import LastKnown, Only, weights_version
from whet.graph.readers import find_readers
from whet.graph.zeros import holds

DAMPING = 1e-2
"""The share of the mean of the diagonal that is added to it; Frantar et al. take 1 %."""
SAMPLES = 256
WHOLE = "its inputs are too many for their moments."


@torch.no_grad()
def put_on_grid(layer: nn.Module, moments: Tensor, rounding: str = COMPENSATED) -> None:
    """Put the weight of a layer of integers on its grid, in place, by one of `compress.quantize.rounders`.

    Zeros that the layer holds stay zeros. Moments have the shape `(groups, d, d)`.
    """
    assert isinstance(layer, IntegerWeight) and isinstance(layer, nn.Module)
    weight = layer.get_parameter("weight")
    rows = weight.reshape(len(moments), -1, moments.shape[-1])
    held = rows == 0 if holds(layer) else None
    found, scale = rounder(rounding)(rows, moments, layer.grid, held)
    layer.weight_scale.copy_(scale)
    weight.copy_(found.view_as(weight))


def compensation(weight: Tensor, moments: Tensor, grid: Grid, held: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return a weight on a grid, `compensated`, and its scales, of least error by the moments' diagonal.

    Shapes: weight `(groups, out / groups, d)`, moments `(groups, d, d)`, scales as `grid.scale` gives them.
    """
    scale = weighted_scale(weight, moments, grid)
    return compensated(weight, moments, grid, scale, held=held), scale


def compensated(
    weight: Tensor, moments: Tensor, grid: Grid, scale: Tensor, damping: float = DAMPING, held: Tensor | None = None
) -> Tensor:
    """Return a weight on its grid, rounded input by input; those that are not rounded yet make up for each error.

        H = E x x^T + damping * mean(diagonal) I,    H^-1 = U^T U,
        q_j = round(w_j),    w_k -= (w_j - q_j) U_jk / U_jj  for all k behind j

    This is the least of the error tr (W - Q) H (W - Q)^T that later weights can reach given earlier ones. Inputs go by
    falling moments. Diagonal moments leave rounding to nearest. Shapes: weight `(groups, out / groups, d)`, moments
    `(groups, d, d)`, scale as `grid.scale` gives it. Where the result errs more than rounding to nearest, that is
    returned. What is `held`, of the weight's shape, becomes zero.

    Paper: Frantar et al. 2022, GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers.
    """
    steps = steps_of(weight, grid, scale)
    left = torch.ones_like(steps) if held is None else (~held).double()
    each = zip(weight.double(), moments, steps, left, strict=True)
    found = torch.stack([_solved(*group, grid.most, damping) for group in each])
    plain = nearest(weight.double(), steps, grid.most) * left
    better = error(weight, found, moments) <= error(weight, plain, moments)
    return torch.where(better.view(-1, 1, 1), found, plain).to(weight.dtype)


def _solved(weight: Tensor, moments: Tensor, steps: Tensor, left: Tensor, most: int, damping: float) -> Tensor:
    """Return the weight `(out, d)` of one group on its grid, compensated."""
    order = torch.argsort(moments.diagonal(), descending=True, stable=True)
    upper = factor(moments[order][:, order], damping)
    found = swept(weight[:, order], steps[:, order], left[:, order], upper, most)
    return found[:, torch.argsort(order)]


def factor(moments: Tensor, damping: float = DAMPING) -> Tensor:
    """Return the upper U with H^-1 = U^T U of damped moments, shapes `(..., d, d)`."""
    ridge = (damping * moments.diagonal(dim1=-2, dim2=-1).mean(-1)).clamp(min=1e-30)
    h = moments + ridge[..., None, None] * torch.eye(moments.shape[-1], dtype=torch.float64)
    upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    return upper


def swept(weight: Tensor, steps: Tensor, left: Tensor, upper: Tensor, most: int) -> Tensor:
    """Return rows `(..., out, d)` rounded from their first input to their last by a `factor`, errors made up for."""
    w, found = weight.clone(), torch.empty_like(weight)
    for j in range(weight.shape[-1]):
        found[..., j] = nearest(w[..., j], steps[..., j], most) * left[..., j]
        lost = (w[..., j] - found[..., j]) / upper[..., j, j].unsqueeze(-1)
        w[..., j + 1 :] -= lost.unsqueeze(-1) * upper[..., j, j + 1 :].unsqueeze(-2)
    return found


def nearest(weight: Tensor, steps: Tensor, most: int) -> Tensor:
    """Return the nearest whole numbers of steps, of at most `most`: all of the shape of the weight."""
    return torch.clamp(torch.round(weight / steps), -most, most) * steps


def steps_of(weight: Tensor, grid: Grid, scale: Tensor) -> Tensor:
    """Return the scale of each weight: the shape of the weight `(groups, out / groups, d)` from a number a row."""
    group = grid.group_of(weight.flatten(0, 1))
    return scale.double().view(*weight.shape[:2], -1).repeat_interleave(group, -1)


def error(weight: Tensor, found: Tensor, moments: Tensor) -> Tensor:
    """Return tr (W - Q) E[x x^T] (W - Q)^T of each group: shape `(groups,)`."""
    lost = weight.double() - found.double()
    return ((lost @ moments) * lost).sum((-1, -2))


def weighted_scale(weight: Tensor, moments: Tensor, grid: Grid) -> Tensor:
    """Return the scales of least error by the moments' diagonal: a number for each row of the grid.

        s = c max|w| / most,    c = argmin over CLIPS of sum_j E x_j^2 (w_j - s round(w_j / s))^2

    Shapes: weight `(groups, out / groups, d)`, moments `(groups, d, d)`.
    """
    flat = weight.flatten(0, 1)
    power = moments.diagonal(dim1=-2, dim2=-1).unsqueeze(1).expand_as(weight).flatten(0, 1)
    rows, power = grid.rows(flat).double(), grid.rows(power.contiguous())
    widest = widest_scale(rows, grid.most)
    best, least = widest, torch.full_like(widest, torch.inf)
    for clip in CLIPS.double():
        scale = widest * clip
        lost = (power * (rows - nearest(rows, scale.unsqueeze(1), grid.most)).square()).sum(1)
        best, least = torch.where(lost < least, scale, best), torch.minimum(lost, least)
    return grid.settled(flat, best).float()


Moments = tuple[dict[str, Tensor], dict[str, str]]
"""By layer the second moments of what it reads, and why others have none."""
_taken = LastKnown[Moments]()


def input_moments(net: Net, run: Run, samples: int = SAMPLES) -> Moments:
    """Return by layer the second moments about zero `(groups, d, d)` of what it reads, and why others have none.

    They are taken once for each network and calibration data; where there are none, there are no moments.
    """
    return _taken.of(net, (weights_version(net), Only(run.task), samples), lambda: _input_moments(net, run, samples))


def _input_moments(net: Net, run: Run, samples: int) -> Moments:
    readers, skipped = find_readers(net)
    try:
        found = moments(net, inputs_of(run.task, samples), readers.values())
    except CalibrationError as problem:
        return {}, {reader.site: str(problem) for reader in readers.values()}
    why = dict(skipped.values()) | {r.site: WHOLE for r in readers.values() if r.site not in found}
    return {site: m.raw().xx for site, m in found.items()}, why
