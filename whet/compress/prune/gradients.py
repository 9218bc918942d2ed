"""Gradients of single samples: the rows that the Fisher matrix of some weights is made of, which is never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from whet.compress.importance import calibration, loss_of
from whet.core.net import Net
from whet.core.run import Run
from whet.data.rows import one_row

MEMORY_BYTES = 512 * 2**20
"""For the gradients: of a network of p weights there are 2^27 / p rows at most."""


def gradients(net: Net, names: Sequence[str], run: Run, samples: int) -> Tensor:
    """Return dL_i/dw for the weights of some layers, flat and one behind the other, at samples i: `(samples, p)`.

    L_i is the task's loss in eval mode; without labels it is `whet.data.kinds.saliency`. Fewer rows come where there
    are fewer samples, or where they would take more than `MEMORY_BYTES`.
    Raises: CalibrationError if the task has no data to take gradients on.
    """
    copy = net.copy().eval()
    weights = [copy.layer(name).get_parameter("weight") for name in names]
    for parameter in copy.module.parameters():
        parameter.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    most = max(1, MEMORY_BYTES // (4 * sum(w.numel() for w in weights)))
    wanted, rows = min(samples, most), list[Tensor]()
    for inputs, targets in calibration(run.task, wanted):
        for i in range(len(inputs[0])):
            loss = loss_of(run, copy(*(x[i : i + 1] for x in inputs)), one_row(targets, i, len(inputs[0])))
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    return torch.stack(rows)


def flat(weights: Mapping[str, Tensor]) -> Tensor:
    """Return weights as one vector `(p,)`, in the order that `gradients` has."""
    return torch.cat([w.detach().flatten() for w in weights.values()])


def unflat(vector: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parts of a vector `(p,)` in the shapes of the weights."""
    parts = torch.split(vector, [w.numel() for w in weights.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}
