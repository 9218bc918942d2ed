"""Importance by what a cut costs where it is read: the exact rise of the error, the readers solved anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whet.compress.moments import Moments

RIDGE = 1e-3
STEPS = 64
"""Atoms of a group that are taken away one by one; of larger groups several at a time."""


class Elimination:
    """One reader of a group: its weights, and the inverse second moments of its inputs, while atoms go.

    Taking the columns S of W away and solving the others anew raises E|W x - W' x'|^2 by exactly

        tr(W_S (P_SS)^-1 W_S^T),   P = (xx + ridge)^-1;   then  W -= W_S (P_SS)^-1 P_S.,   P -= P_.S (P_SS)^-1 P_S.

    which is the block form of the Optimal Brain Surgeon. Shapes: W `(groups, out / groups, d)`, P `(groups, d, d)`,
    columns `(atoms, columns an atom)`. Rises are shares of the layer's output variance.
    """

    def __init__(self, weight: Tensor, found: Moments, columns: Tensor, ridge: float = RIDGE) -> None:
        self.weight, self.columns = weight.double().clone(), columns
        scale = found.xx.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-30).view(-1, 1, 1)
        system = found.xx + ridge * scale * torch.eye(found.xx.shape[-1], dtype=torch.float64)
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
        self.alive = torch.ones(found.xx.shape[-1], dtype=torch.bool)
        self.total = max(float((self.weight @ found.xx * self.weight).sum()), 1e-30)

    def rises(self, atoms: Tensor) -> Tensor:
        """Return by how much the error rises for each of the atoms alone."""
        columns = self.columns[atoms]
        if columns.shape[1] == 1:
            one = columns.squeeze(1)
            squares = self.weight[..., one].square().sum(1) / self.inverse.diagonal(dim1=-2, dim2=-1)[:, one]
            return squares.sum(0) / self.total
        blocks = self.inverse[:, columns.unsqueeze(-1), columns.unsqueeze(-2)]
        parts = self.weight[:, :, columns].transpose(1, 2)
        products: Tensor = parts * torch.linalg.solve(blocks, parts.mT).mT
        return products.sum((0, 2, 3)) / self.total

    def remove(self, atoms: Tensor) -> None:
        """Take atoms away, all other columns making up for them."""
        gone = self.columns[atoms].flatten()
        rows = self.inverse[:, gone]
        solved = torch.linalg.solve(rows[:, :, gone], rows)
        self.weight -= self.weight[:, :, gone] @ solved
        self.inverse -= rows.mT @ solved
        self.alive[gone] = False
        if 2 * int(self.alive.sum()) < len(self.alive):
            self._compact()

    def _compact(self) -> None:
        """Forget the columns that are gone."""
        kept = self.alive.nonzero().squeeze(1)
        self.columns = (torch.cumsum(self.alive, 0) - 1)[self.columns]
        self.weight, self.inverse = self.weight[..., kept], self.inverse[:, kept][:, :, kept]
        self.alive = torch.ones(len(kept), dtype=torch.bool)


def order_of_removal(readers: Sequence[Elimination], size: int, steps: int = STEPS) -> NDArray[np.float64]:
    """Return for each of `size` atoms the error that is reached when it goes, the cheapest first; none goes last.

    `(size,)`. The error is the sum of the readers' shares. In each step the atoms go whose removal costs least, given
    those gone.
    """
    alive = torch.arange(size)
    reached, costs = 0.0, np.zeros(size)
    while len(alive):
        rises = torch.stack([reader.rises(alive) for reader in readers]).sum(0)
        some = torch.argsort(rises, stable=True)[: max(1, len(alive) // steps)]
        for atom, rise in zip(alive[some].tolist(), rises[some].tolist(), strict=True):
            reached += max(rise, 0.0)
            costs[atom] = reached
        for reader in readers:
            reader.remove(alive[some])
        alive = alive[~torch.isin(alive, alive[some])]
    return costs
