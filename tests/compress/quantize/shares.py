"""A small problem of sharing bits out, for the tests of engines."""

from __future__ import annotations

from torch import Tensor, nn

import whet
from whet.compress.quantize.allocation import Allocation
from whet.core.net import Net
from whet.graph.grids import Grid

GRIDS = Grid(8), Grid(4), Grid(2)


class Twice(nn.Module):
    """Two linear layers whose outputs are added, one of them by a factor."""

    def __init__(self, factor: float, inputs: int = 6) -> None:
        super().__init__()
        self.one, self.other, self.factor = nn.Linear(inputs, 4, False), nn.Linear(inputs, 4, False), factor
        self.other.weight.data = self.one.weight.data.clone()

    def forward(self, x: Tensor) -> Tensor:
        """Return one(x) + factor other(x): (rows, 4)."""
        y: Tensor = self.one(x) + self.factor * self.other(x)
        return y


def problem_of(module: nn.Module, x: Tensor, most_bits: float) -> Allocation:
    """Return a problem in which layers are rounded to nearest."""
    net: Net = whet.lift(module.eval(), (x[:2],))

    def rounded(site: str, grid: Grid) -> Tensor:
        weight = net.layer(site).get_parameter("weight").detach()
        scale = grid.scale(weight)
        return (grid.integers(weight, scale) * scale.unsqueeze(1)).view_as(weight)

    weights = {name: layer.weight.numel() for name, layer in net.layers().items()}
    return Allocation(net, [(x[:20],), (x[20:],)], GRIDS, weights, rounded, most_bits)
