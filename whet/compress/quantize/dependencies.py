"""Bits by what layers do to the outputs together: curvature with its terms between layers, lowered step by step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from whet.compress.quantize.allocation import Allocation, Share
from whet.graph.grids import Grid, stored_bits


def by_dependencies(problem: Allocation, dependent: bool = True) -> Share:
    """Return the grids after as many of the cheapest steps as the limit of bits asks for.

        damage of a share = |sum_i d_i|^2 = sum_i d_i H_ii d_i + sum_(i != j) d_i H_ij d_j

    where d_i is what layer i on its grid does to the outputs alone, and H the Hessian of their squared error: beside
    the diagonal of layer-wise Hessians it holds how errors of layers add up or cancel. All layers begin with the most
    bits; of all steps of a layer to fewer bits, the one of least additional damage for the bits that it saves comes
    next, given those before. So shares of fewer bits go on from those of more, and a bisection over the limit
    (`quantize.mixed-bits`) finds the last one within a drop. With `dependent` false the terms between layers are left
    out.

    The paper's abstract names the ingredients (second-order information, dependencies between layers, an order,
    bisection) and no formula: these are inferred.
    Paper: Schaefer et al. 2023, Augmenting Hessians with Inter-Layer Dependencies for Mixed-Precision Post-Training
    Quantization.
    """
    share = dict.fromkeys(problem.weights, problem.grids[0])
    total = sum((problem.change(s, g) for s, g in share.items()), torch.zeros(1, dtype=torch.float64))
    while problem.bits(share) > problem.most_bits + 1e-9:
        steps = list(_steps(problem, share))
        if not steps:
            break
        site, grid = min(steps, key=lambda step: _price(problem, share, total if dependent else None, *step))
        total = total + problem.change(site, grid) - problem.change(site, share[site])
        share[site] = grid
    return share


def _steps(problem: Allocation, share: Share) -> Iterator[tuple[str, Grid]]:
    """Yield each layer with each grid of fewer bits than it has."""
    for site, grid in share.items():
        for lower in problem.grids[problem.grids.index(grid) + 1 :]:
            yield site, lower


def _price(problem: Allocation, share: Share, total: Tensor | None, site: str, grid: Grid) -> float:
    """Return the damage that a step adds, for each bit that it saves."""
    old, new = problem.change(site, share[site]), problem.change(site, grid)
    step = new - old
    added = new.square().sum() - old.square().sum() if total is None else step.square().sum() + 2 * (total @ step)
    return float(added) / (problem.weights[site] * (stored_bits(share[site]) - stored_bits(grid)))
