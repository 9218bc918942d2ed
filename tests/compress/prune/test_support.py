"""Least squares on a support: every step lowers the objective, and its end is what the dense solution gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from whet.compress.moments import Moments, Sums
from whet.compress.prune.support import solved_on_support


def problem(groups: int = 2, outputs: int = 5, inputs: int = 12) -> tuple[Moments, Tensor]:
    """Return the moments of correlated inputs with noisy outputs, and another weight without zeros to begin at."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(groups, 400, inputs, generator=generator) @ torch.randn(groups, inputs, inputs, generator=generator)
    y = x @ torch.randn(groups, inputs, outputs, generator=generator) + torch.randn(
        groups, 400, outputs, generator=generator
    )
    sums = Sums()
    sums.add(x, y)
    return sums.moments(), torch.randn(groups, outputs, inputs, generator=generator)


def objective(found: Moments, weight: Tensor, start: Tensor, damping: float) -> float:
    """Return E|y - V x - b|^2 + damping * mean(diagonal of xx) * |V - start|^2, summed over groups."""
    ridge = damping * found.xx.diagonal(dim1=-2, dim2=-1).mean(-1)
    moved = (weight.double() - start.double()).square().sum((1, 2))
    return found.error(weight) + float((ridge * moved).sum())


@pytest.mark.parametrize("damping", [0.0, 1e-2, 1.0])
def test_the_objective_falls_with_every_step(damping: float) -> None:
    found, start = problem()
    start[:, :, ::3] = 0.0
    start = start.double()
    path = [objective(found, solved_on_support(found, start, damping, steps), start, damping) for steps in range(8)]
    assert path[0] == objective(found, start, start, damping)
    assert all(after < before for before, after in pairwise(path)), path


@pytest.mark.parametrize("damping", [1e-2, 0.3])
def test_where_nothing_is_zero_it_is_the_dense_solution(damping: float) -> None:
    found, start = problem(groups=1)
    start = start.double()
    dense = found.solved(start, damping)
    assert dense is not None
    torch.testing.assert_close(solved_on_support(found, start, damping, steps=60), dense, rtol=1e-6, atol=1e-8)


def test_least_squares_on_a_support_is_that_of_each_row_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(300, 20, generator=generator), torch.randn(6, 20, generator=generator)
    x = x @ torch.randn(20, 20, generator=generator)
    y = x @ w.T
    sums = Sums()
    sums.add(x[None], y[None])
    found = sums.moments()
    start = w * (torch.rand(6, 20, generator=generator) > 0.5)
    solved = solved_on_support(found, start[None], damping=0.0, steps=60)[0]
    for row, (kept, target) in enumerate(zip(start != 0, y.T, strict=True)):
        a, b = x[:, kept] - x[:, kept].mean(0), target - target.mean()
        expected = torch.linalg.lstsq(a.double(), b.double()[:, None]).solution.flatten()
        torch.testing.assert_close(solved[row, kept].double(), expected, rtol=1e-3, atol=1e-4)
        assert not solved[row, ~kept].any()


def test_a_weight_of_zeros_and_inputs_that_never_move_stay_as_they_are() -> None:
    found, start = problem()
    assert not solved_on_support(found, torch.zeros_like(start)).any()
    still = Moments(
        found.count, found.mean, torch.zeros_like(found.xx), found.y_mean, torch.zeros_like(found.yx), found.yy
    )
    assert torch.equal(solved_on_support(still, start), start)
