"""Chains of layers: they compute one behind the other what the caller gave, wherever the layer was called."""

from __future__ import annotations

import torch
from torch import nn

import whet
from whet.graph.factors import FIRST, SECOND, chained, put_chain


class Twice(nn.Module):
    """Calls one layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.layer(self.layer(x).relu()))
        return found


def test_layers_stand_in_their_order_at_each_call_of_the_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 6)
    net = whet.lift(Twice().eval(), (x[:2],))
    parts = {FIRST: nn.Linear(6, 3), "middle": nn.Linear(3, 4), SECOND: nn.Linear(4, 6)}
    put_chain(net, "layer", parts)
    net.settle()
    chain, head = nn.Sequential(*parts.values()), net.layer("head")
    torch.testing.assert_close(net(x), head(chain(chain(x).relu())))
    assert chained(net) == ["layer"] and not any(m.training for m in parts.values())
    assert set(net.layers()) == {"layer.reduce", "layer.middle", "layer.expand", "head"}


def test_a_name_alone_makes_no_chain() -> None:
    module = nn.ModuleDict({FIRST: nn.Linear(3, 3)})
    net = whet.lift(nn.Sequential(module[FIRST]).eval(), (torch.randn(2, 3),))
    assert chained(net) == []
