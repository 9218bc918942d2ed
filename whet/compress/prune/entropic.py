"""Pruning by entropic Wasserstein regression: least squares whose targets are means over rows that give the like."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from whet.compress.prune.gradients import flat, gradients, unflat
from whet.compress.prune.least_squares import Problem, pruned
from whet.core.net import Net
from whet.core.run import Run

SPREAD = 1e-5
"""Of the variance of the targets: how far entropy spreads the plan over neighbours.

Of a trained network most gradients are next to zero and few are large, which make the variance: ResNet-20 with 70 % of
zeros has 63 % of accuracy with 1e-4 and 75 % with 1e-6, unsolved, where magnitude has 66 %."""
ROUNDS = 10
"""Times at most that the plan is made anew and a step is taken."""
SCALINGS, FIRST_SCALINGS, SHRINK = 200, 20, 4.0
"""Iterations of Sinkhorn at most, and for each larger entropy before, which shrinks from the largest cost on: begun
at a small one, scalings need as many iterations as the costs have entropies."""
CLOSE = 1e-6


def plan(given: Tensor, wanted: Tensor, entropy: float) -> Tensor:
    """Return argmin_P sum_ij P_ij (given_i - wanted_j)^2 + entropy sum_ij P_ij log P_ij, rows and columns 1 / n each.

    By Sinkhorn's scalings of logarithms: P_ij = exp((f_i + g_j - C_ij) / entropy). Shapes: given and wanted `(n,)`, P
    `(n, n)`. Rows are 1 / n exactly, columns as far as the scalings come.
    """
    costs = (given[:, None] - wanted[None, :]).square()
    share, right = math.log(len(given)), torch.zeros_like(wanted)
    scale = max(entropy, float(costs.max()))
    while True:
        for _ in range(SCALINGS if scale <= entropy else FIRST_SCALINGS):
            left = -scale * (torch.logsumexp((right - costs) / scale, 1) + share)
            before, right = right, -scale * (torch.logsumexp((left[:, None] - costs) / scale, 0) + share)
            if float((right - before).abs().max()) < CLOSE * scale:
                break
        if scale <= entropy:
            break
        scale = max(entropy, scale / SHRINK)
    left = -scale * (torch.logsumexp((right - costs) / scale, 1) + share)
    return ((left[:, None] + right - costs) / scale).exp()


def neighbours(given: Tensor, wanted: Tensor, spread: float) -> Tensor:
    """Return n P wanted, `(n,)`: each row's target is a mean of those that lie near what it gives.

    >>> neighbours(torch.tensor([0.0, 5.0]), torch.tensor([5.1, -0.1]), 0.01)
    tensor([-0.1000,  5.1000])
    """
    entropy = max(spread * float(wanted.var(correction=0)), 1e-12)
    return len(given) * plan(given.double(), wanted.double(), entropy).to(wanted.dtype) @ wanted


def entropic(net: Net, weights: Mapping[str, Tensor], share: float, run: Run, samples: int) -> dict[str, Tensor]:
    """Return new weights with so large a `share` of zeros, all layers together, by the names of their layers.

    Shapes are those of the weights: `(out, in)`, `(out, in / groups, kh, kw)`.

        min_w min_P sum_ij P_ij (a_i w - y_j)^2 + entropy sum_ij P_ij log P_ij + d |w - w0|^2 / 2,  k of w not zero

    a_i are the gradients of samples, y = A w0, as in `whet.compress.prune.least_squares`, which is what comes of
    P = I / n. For a plan P the first term's gradient is that of least squares with the targets n P y, so plans and
    exchanges of weights alternate. Entropy mixes neighbours, which makes up for the noise of single gradients.

    Paper: You and Cheng 2024, SWAP: Sparse Entropic Wasserstein Regression for Robust Network Pruning. Its entropy
    is an absolute number; here it is a share of the variance of the targets.
    Raises: CalibrationError if the task has no data to take gradients on.
    """
    start = flat(weights)
    problem = Problem(gradients(net, list(weights), run, samples), start)
    targets = lambda given: neighbours(given, problem.goal, SPREAD)  # noqa: E731
    return unflat(pruned(problem, len(start) - int(share * len(start) + 0.5), ROUNDS, targets), weights)
