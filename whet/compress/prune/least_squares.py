"""Pruning by cardinality-constrained least squares: which weights go and what the others become, decided together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from whet.compress.prune.gradients import flat, gradients, unflat
from whet.core.net import Net
from whet.core.run import Run

DAMPING = 0.1
"""Of the mean curvature of a weight."""
STEPS = 20
"""Steps of hard thresholding at most; they end where no exchange makes the objective fall."""
FIRST, LEAST = 4, 512
"""The shares, one over these, of the weights left that a step exchanges at first, and at least."""
Targets = Callable[[Tensor], Tensor]
"""What the rows should give, `(samples,)`, by what they give."""


class Problem:
    """min |A w - A w0|^2 / 2 + n d |w - w0|^2 / 2 with at most k weights that are not zero, H = A^T A / n never stored.

    A has the gradients of n samples as rows, so the objective is n times the loss's second order around w0, whose
    Hessian is the empirical Fisher matrix, damped by d, and whose mean gradient counts as none. Shapes: A `(n, p)`, w
    and w0 `(p,)`.
    """

    def __init__(self, rows: Tensor, start: Tensor, damping: float = DAMPING) -> None:
        self.rows, self.start, self.goal = rows, start, rows @ start
        own = rows.square().sum(0)
        self.ridge = max(damping * float(own.mean()), 1e-30)
        self.curvature = own + self.ridge

    def objective(self, weights: Tensor, goal: Tensor | None = None) -> float:
        """Return the objective of weights `(p,)`, for another goal `(n,)` if one is given."""
        off = (self.goal if goal is None else goal) - self.rows @ weights
        return 0.5 * float(off @ off) + 0.5 * self.ridge * float((weights - self.start).square().sum())

    def slope(self, weights: Tensor, goal: Tensor) -> Tensor:
        """Return the objective's gradient `(p,)`."""
        return self.rows.T @ (self.rows @ weights - goal) + self.ridge * (weights - self.start)

    def solved(self, support: Tensor, goal: Tensor | None = None) -> Tensor:
        """Return the best weights `(p,)` of a support, booleans `(p,)`: an n x n system, by Woodbury's identity.

        w_S = w0_S + A_S^T (ridge I + A_S A_S^T)^-1 (y - A_S w0_S)
        """
        index = support.nonzero().squeeze(1)
        some, start = self.rows.index_select(1, index), self.start[index]
        gram = some @ some.T
        gram.diagonal().add_(self.ridge)
        off = (self.goal if goal is None else goal) - some @ start
        left = torch.cholesky_solve(off[:, None], torch.linalg.cholesky(gram))[:, 0]
        found = torch.zeros_like(self.start)
        found[index] = start + some.T @ left
        return found


def thresholded(weights: Tensor, count: int) -> Tensor:
    """Return weights `(p,)` with all but the `count` largest magnitudes zero; of equal ones the last stay.

    >>> thresholded(torch.tensor([1.0, -3.0, 2.0]), 2)
    tensor([ 0., -3.,  2.])
    """
    found = weights.clone()
    found[torch.argsort(weights.abs(), stable=True)[: len(weights) - count]] = 0.0
    return found


def pruned(problem: Problem, count: int, steps: int = STEPS, targets: Targets | None = None) -> Tensor:
    """Return weights `(p,)` with at most `count` that are not zero.

    Steps exchange weights, and each is followed by the best weights of the support that it finds: a quarter of the
    support at first, half as many where the objective would rise, and so on, so that it falls with each step. The first
    support is that of the largest weights, or of the largest w^2 H_qq, whichever has the smaller objective. With
    `targets` the goal is told anew before each step by what the rows give.
    """
    goal, exchanged = problem.goal, max(1, count // FIRST)
    starts = [problem.start, problem.start * problem.curvature.sqrt()]
    weights = min((problem.solved(thresholded(s, count) != 0) for s in starts), key=problem.objective)
    for _ in range(steps if 0 < count < len(weights) else 0):
        if targets is not None:
            goal = targets(problem.rows @ weights)
            weights = problem.solved(weights != 0, goal)
        here = problem.objective(weights, goal)
        while exchanged > count // LEAST:
            other = problem.solved(exchange(problem, weights, goal, exchanged), goal)
            if problem.objective(other, goal) < here:
                break
            exchanged //= 2
        else:
            break
        weights = other
    return weights


def exchange(problem: Problem, weights: Tensor, goal: Tensor, count: int) -> Tensor:
    """Return a support, booleans `(p,)`, in which `count` zeros have taken the places of as many weights.

    Each coordinate for itself, a zero that comes lowers the objective by slope^2 / 2 H_qq, and a weight that goes
    raises it by w^2 H_qq / 2, H being the curvature, damping included: the best come, the cheapest go.
    """
    support, gains = weights != 0, problem.slope(weights, goal).square() / problem.curvature
    costs = weights.square() * problem.curvature
    outside, inside = (~support).nonzero().squeeze(1), support.nonzero().squeeze(1)
    count = min(count, len(outside), len(inside))
    support[outside[torch.topk(gains[outside], count).indices]] = True
    support[inside[torch.topk(costs[inside], count, largest=False).indices]] = False
    return support


def least_squares(net: Net, weights: Mapping[str, Tensor], share: float, run: Run, samples: int) -> dict[str, Tensor]:
    """Return new weights with so large a `share` of zeros, all layers together, by the names of their layers.

    Shapes are those of the weights: `(out, in)`, `(out, in / groups, kh, kw)`.

    Paper: Benbaki et al. 2023, Fast as CHITA: Neural Network Pruning with Combinatorial Optimization. Its ridge is an
    absolute number that is tuned, here a share of the mean curvature; its first order is left out, as it promises a
    loss below zero where gradients are fewer than weights.
    Raises: CalibrationError if the task has no data to take gradients on.
    """
    start = flat(weights)
    problem = Problem(gradients(net, list(weights), run, samples), start)
    return unflat(pruned(problem, len(start) - int(share * len(start) + 0.5)), weights)
