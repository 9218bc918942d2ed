"""The plain graph: layers under their original names, each once; tensors tied in the source stay tied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import whet


class Tied(nn.Module):
    """One table reads and writes; one layer is called twice; one weight is used by a function in another module."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.twice, self.norm = nn.Embedding(7, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.twice(self.norm(self.twice(self.table(tokens)))) * self.scale
        with torch.no_grad():
            x = x + 0.0
        return F.linear(x, self.table.weight)


def test_names_ties_and_repeated_calls_are_those_of_the_source() -> None:
    torch.manual_seed(0)
    module = Tied().eval()
    tokens = torch.randint(0, 7, (2, 3))
    net = whet.lift(module, tokens)
    calls = [str(n.target) for n in net.graph.nodes if n.op == "call_module"]
    assert calls.count("twice") == 2 and "table" in calls and "norm" in calls
    assert net.parameter_count == sum(p.numel() for p in module.parameters())
    assert net.layer("table").weight is not module.table.weight, "the net has copies"
    assert float(net.module.scale) == 2.0
    torch.testing.assert_close(net(tokens), module(tokens))
    with torch.no_grad():
        net.layer("table").weight.zero_()
    assert net(tokens).abs().max() == 0, "reading and writing go by one tensor"
    assert module(tokens).abs().max() > 0
