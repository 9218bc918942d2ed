"""Bits by the orthogonality of layers: what no other layer says gets more, by a linear programme."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor, fx

from whet.compress.lockstep import Lockstep
from whet.compress.quantize.allocation import Allocation, Share
from whet.graph.grids import stored_bits
from whet.graph.readers import find_readers

SHARPNESS = 1.0
"""How fast the worth of a layer's bits falls with what others say; the paper's beta."""


def by_orthogonality(problem: Allocation, sharpness: float = SHARPNESS) -> Share:
    """Return the grids of most worth within the limit of bits.

        k_ij = <G_i, G_j> / (|G_i| |G_j|),    G_i the centred Gram matrix of layer i's outputs over samples
        t_i = exp(-sharpness sum_(j != i) k_ij),    worth_i = mean of t_j over j >= i
        max  sum_i worth_i b_i    s.t.  sum_i n_i b_i <= most_bits,    b_i between the fewest and the most bits

    by a linear programme over real b_i, of n_i weights each. Its solution has all layers but one at either end. Each
    takes the grid of most bits that b_i holds, and what is left over goes to the layers of most worth for their
    weights. No weight is looked at, and nothing is rounded to find this.

    Paper: Ma et al. 2023, OMPQ: Orthogonal Mixed Precision Quantization.
    """
    sites, offered = list(problem.weights), [stored_bits(grid) for grid in problem.grids]
    counts = np.array([problem.weights[s] for s in sites], float)
    worth = worths(alike(grams(problem)), sharpness)
    found = linprog(
        -worth, A_ub=counts[None, :] / counts.sum(), b_ub=[problem.most_bits / counts.sum() + 1e-12],
        bounds=[(min(offered), max(offered))] * len(sites),
    )  # fmt: skip
    if found.x is None:
        found.x = np.full(len(sites), min(offered))
    chosen = [next((i for i, b in enumerate(offered) if b <= x + 1e-9), len(offered) - 1) for x in found.x]
    left = problem.most_bits - sum(n * offered[i] for n, i in zip(counts, chosen, strict=True))
    for place in np.argsort(-worth / counts, kind="stable"):
        while chosen[place] and counts[place] * (offered[chosen[place] - 1] - offered[chosen[place]]) <= left + 1e-9:
            left -= counts[place] * (offered[chosen[place] - 1] - offered[chosen[place]])
            chosen[place] -= 1
    return {site: problem.grids[i] for site, i in zip(sites, chosen, strict=True)}


def worths(alike: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Return what a bit of each layer is worth, by how alike layers' outputs are, `(layers, layers)`.

    >>> [round(float(x), 2) for x in worths(np.eye(2), 1.0)]
    [1.0, 1.0]
    """
    alone = np.exp(-sharpness * (alike.sum(1) - np.diag(alike)))
    behind = np.cumsum(alone[::-1])[::-1]
    return np.asarray(behind / np.arange(len(alone), 0, -1))


def alike(grams: Sequence[Tensor]) -> NDArray[np.float64]:
    """Return the cosines of centred Gram matrices `(samples, samples)`, one for each pair of layers."""
    flat = torch.stack([_centred(g).flatten() for g in grams])
    unit = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return np.asarray((unit @ unit.T).numpy(), float)


def _centred(gram: Tensor) -> Tensor:
    return gram - gram.mean(0, keepdim=True) - gram.mean(1, keepdim=True) + gram.mean()


def grams(problem: Allocation) -> list[Tensor]:
    """Return the Gram matrix `(samples, samples)` of each layer's outputs, in float64, in the order of the layers."""
    readers = {r.node: r.site for r in find_readers(problem.net)[0].values()}
    steps, found = Lockstep(problem.net, problem.batches), dict[str, Tensor]()

    def collect(node: fx.Node) -> None:
        site = readers.get(node.name)
        if site in problem.weights:
            rows = torch.cat([env[node].flatten(1).double() for env in steps.values])
            found[str(site)] = rows @ rows.T / math.prod(rows.shape)

    steps.run(after=collect)
    return [found[site] for site in problem.weights]
