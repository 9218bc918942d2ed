"""Pruning by the inverse of the empirical Fisher matrix, of which only products with vectors are made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from whet.compress.prune.gradients import flat, gradients, unflat
from whet.compress.prune.least_squares import DAMPING
from whet.core.net import Net
from whet.core.run import Run


class InverseFisher:
    """F^-1 of F = damping I + 1/m sum_i g_i g_i^T, in O(p m^2) at first, O(p m) a product and O(m) a diagonal element.

        v_i = F_(i-1)^-1 g_i,    F_i^-1 x = F_(i-1)^-1 x - v_i (v_i^T x) / (m + g_i^T v_i),    F_0^-1 x = x / damping

    by Sherman and Morrison, gradient by gradient. Shapes: gradients and `products` `(m, p)`, `scales` `(m,)`.
    """

    def __init__(self, rows: Tensor, damping: float) -> None:
        self.damping, count = damping, len(rows)
        self.products, self.scales = torch.empty_like(rows), rows.new_empty(count)
        for i, row in enumerate(rows):
            self.products[i] = self._times(row, i)
            self.scales[i] = count + row @ self.products[i]

    def _times(self, vector: Tensor, count: int) -> Tensor:
        some = self.products[:count]
        return vector / self.damping - some.T @ (some @ vector / self.scales[:count])

    def times(self, vector: Tensor) -> Tensor:
        """Return F^-1 x for x `(p,)`."""
        return self._times(vector, len(self.products))

    def diagonal(self) -> Tensor:
        """Return the diagonal of F^-1, `(p,)`."""
        return 1 / self.damping - (self.products.square() / self.scales[:, None]).sum(0)


def surgeon(rows: Tensor, weights: Tensor, count: int, damping: float = DAMPING) -> Tensor:
    """Return weights `(p,)` of which the `count` cheapest are zero, the others moved to make up for them.

        cost_q = w_q^2 / (2 [F^-1]_qq),    w -= F^-1 sum_q e_q w_q / [F^-1]_qq

    the sum of what each weight that goes asks for alone (as if they were independent), after which what went is zero.
    The damping is a share of the mean curvature of a weight.
    """
    mean = float(rows.square().mean())
    inverse = InverseFisher(rows, max(damping * mean, 1e-30))
    diagonal = inverse.diagonal().clamp(min=1e-30)
    costs = weights.square() / (2 * diagonal)
    gone = torch.argsort(costs, stable=True)[:count]
    asked = torch.zeros_like(weights)
    asked[gone] = weights[gone] / diagonal[gone]
    found = weights - inverse.times(asked)
    found[gone] = 0.0
    return found


def matrix_free(net: Net, weights: Mapping[str, Tensor], share: float, run: Run, samples: int) -> dict[str, Tensor]:
    """Return new weights with so large a `share` of zeros, all layers together, by the names of their layers.

    Shapes are those of the weights: `(out, in)`, `(out, in / groups, kh, kw)`.

    Paper: Frantar et al. 2021, M-FAC: Efficient Matrix-Free Approximations of Second-Order Information, the static
    algorithm without blocks; its damping is an absolute number.
    Raises: CalibrationError if the task has no data to take gradients on.
    """
    start = flat(weights)
    found = surgeon(gradients(net, list(weights), run, samples), start, int(share * len(start) + 0.5))
    return unflat(found, weights)
