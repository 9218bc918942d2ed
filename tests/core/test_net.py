"""A net: a graph of named layers that is copied, not changed, and gives its outputs in the structure of the source."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.net import Net


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.norm(self.layer(x))
        return {"y": y, "rest": (y + 1, None, 3)}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return whet.lift(Nested().eval(), torch.randn(2, 4))


def test_a_copy_shares_nothing(net: Net) -> None:
    other = net.copy()
    with torch.no_grad():
        other.layer("layer").weight.zero_()
    assert net.layer("layer").weight.abs().sum() > 0 and other.example is net.example


def test_results_of_a_file_come_back_in_the_structure_of_the_source(net: Net) -> None:
    out = net(*net.example)
    assert out["rest"][1:] == (None, 3) and [port.name for port in net.outputs] == ["y", "rest.0"]
    values = [v + 1 for v in net.results(out)]
    again = net.structured(values)
    assert again["rest"][1:] == (None, 3) and torch.equal(again["y"], values[0])
    assert torch.equal(again["rest"][0], values[1]) and len(net.output_nodes) == 2


def test_looking_at_shapes_moves_no_statistics_and_gives_each_mode_back(net: Net) -> None:
    net.train()
    net.layer("layer").eval()
    before = net.layer("norm").running_mean.clone()
    shapes = net.forward_shapes()
    assert shapes["layer"] == (2, 3) and torch.equal(net.layer("norm").running_mean, before)
    assert net.layer("norm").training and not net.layer("layer").training
    with pytest.raises(KeyError), net.evaluating():
        raise KeyError
    assert net.layer("norm").training


def test_what_is_dead_goes(net: Net) -> None:
    node = next(n for n in net.graph.nodes if n.op == "call_module" and n.target == "norm")
    node.replace_all_uses_with(node.args[0])
    assert list(net.settle().layers()) == ["layer"] and net.parameter_count == 15
