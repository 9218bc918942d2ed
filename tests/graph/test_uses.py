"""A layer is used once only if neither another call, another layer nor the graph itself uses its tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whet.graph.lift import lift
from whet.graph.uses import used_once


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alone, self.twice, self.read = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.first, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.relu(self.twice(self.alone(x))))
        x = self.read(x) + self.read.weight.sum()
        return self.tied(torch.relu(self.first(x)))


def test_only_a_layer_that_nothing_shares_is_used_once() -> None:
    net = lift(Net().eval(), (torch.zeros(2, 4),))
    assert set(net.layers()) >= {"alone", "twice", "read", "first", "tied"}
    assert used_once(net) == {"alone"}
