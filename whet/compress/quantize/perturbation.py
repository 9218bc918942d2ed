"""Bits by the curvature along each layer's rounding, by an integer programme under several limits."""

from __future__ import annotations

import torch

from whet.compress.quantize.allocation import Allocation, Share
from whet.decisions.bounded import by_bounded_programme
from whet.graph.grids import stored_bits
from whet.support.structure import tensors

PROBES = 8
"""Random directions that the traces are estimated with."""


def by_perturbation(problem: Allocation, probes: int = PROBES) -> Share:
    """Return the grids that perturb the outputs least within the limits: of bits, and whatever else has one.

        min  sum_i tr(H_i) / n_i |Q_i(W_i) - W_i|^2    s.t.  sum_i n_i b_i <= most_bits,  sum_i t_i <= limit_t

    over one grid a layer, by an integer programme, H_i being the Hessian for the n_i weights of layer i and t_i any
    further table of the problem. The Hessian is that of the outputs' squared error, where the paper takes the loss's:
    it needs no labels, and where nothing is rounded yet it is J^T J exactly.

    Paper: Yao et al. 2021, HAWQ-V3: Dyadic Neural Network Quantization.
    """
    curved = traces(problem, probes)
    damages = [_perturbed(problem, site, curved[site]) for site in problem.weights]
    sizes = [[n * stored_bits(grid) for grid in problem.grids] for n in problem.weights.values()]
    limits = [(sizes, problem.most_bits * (1 + 1e-9))]
    for table, limit in problem.more:
        limits.append(([[table[s, g] for g in problem.grids] for s in problem.weights], limit * (1 + 1e-9)))
    picked = by_bounded_programme(damages, limits)
    return {site: problem.grids[i] for site, i in zip(problem.weights, picked, strict=True)}


def _perturbed(problem: Allocation, site: str, trace: float) -> list[float]:
    """Return the damage of each grid, rounded to nearest: what compensates goes farther where nothing is felt."""
    weight = problem.net.layer(site).get_parameter("weight").detach()
    found = []
    for grid in problem.grids:
        nearest = grid.nearest(weight, grid.scale(weight))
        found.append(trace / weight.numel() * float((nearest - grid.rows(weight)).double().square().sum()))
    return found


def traces(problem: Allocation, probes: int = PROBES) -> dict[str, float]:
    """Return by layer the trace of the Hessian of the outputs' squared error, a mean over samples.

        tr H_i = E_v |J_i^T v|^2,    v standard normal, in deviations of each output

    with one gradient for each draw of v. Samples have directions of their own, so that a batch's gradient will do.
    """
    net = problem.net.copy()
    weights = {site: net.layer(site).get_parameter("weight").requires_grad_(True) for site in problem.weights}
    generator, found = torch.Generator().manual_seed(0), dict.fromkeys(weights, 0.0)
    deviations, samples = problem.deviations(), 0
    for inputs in problem.batches:
        samples += len(inputs[0])
        with net.evaluating():
            outputs = [x for x in tensors(net(*inputs)) if x.is_floating_point()]
        for _ in range(probes):
            along = [torch.randn(x.shape, generator=generator) / d for x, d in zip(outputs, deviations, strict=True)]
            slopes = torch.autograd.grad(
                outputs, list(weights.values()), along, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for site, slope in zip(weights, slopes, strict=True):
                found[site] += float(slope.double().square().sum()) / probes
    return {site: total / samples for site, total in found.items()}
