"""Which weights read an atom and which write it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.graph.axes import analyze
from whet.graph.sides import input_dim, owner, reads, writes


class Sides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2)
        self.matrix = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.up(self.depthwise(self.first(x))))
        return y.mean((2, 3)) @ self.matrix


@pytest.fixture(scope="module")
def net() -> whet.Net:
    return whet.lift(Sides().eval(), torch.randn(2, 3, 9, 9))


def test_a_weight_s_inputs_are_in_the_dimension_that_its_kind_has_them_in(net: whet.Net) -> None:
    wanted = {"first.weight": 1, "up.weight": 0, "matrix": 0, "first.bias": None}
    assert {name: input_dim(net, name) for name in wanted} == wanted


def test_an_atom_is_written_by_one_side_and_read_by_the_other_and_a_depthwise_layer_does_neither(net: whet.Net) -> None:
    groups = list(analyze(net).groups.values())
    members = [member for group in groups for member in group.members]
    readers = {(m.parameter, m.dim) for m in members if reads(net, m)}
    writers = {(m.parameter, m.dim) for m in members if writes(net, m)}
    assert ("up.weight", 0) in readers and ("matrix", 0) in readers
    assert ("first.weight", 0) in writers and ("up.weight", 1) in writers
    assert not {name for name, _ in writers} & {"depthwise.weight", "first.bias"} and not readers & writers
    assert isinstance(owner(net, next(m for m in members if m.parameter == "first.weight")), nn.Conv2d)
