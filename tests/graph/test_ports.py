"""Names and open lengths of inputs and outputs, as users and files know them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import whet
from whet.core.errors import LiftError, UnknownNameError
from whet.graph.calls import inputs_of
from whet.graph.ports import free_of, known_axes


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor, rate: Tensor) -> Tensor:
        return self.layer(x) * rate


FLAT = inputs_of(Two(), (torch.randn(2, 5, 4), torch.tensor(1.0)))


def test_the_batch_is_first_unless_a_file_knows_better() -> None:
    assert known_axes(Two(), FLAT) == (0, None)
    assert known_axes(SimpleNamespace(batch_axes=(1, None)), FLAT) == (1, None)


def test_axes_to_leave_open_have_names_and_are_asked_for_strictly() -> None:
    free, shapes = free_of(Two(), {"x": {-2: "time"}}, FLAT, (0, None))
    assert free == [{1: "time"}, {}] and shapes == ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, {})
    assert free_of(Two(), {"x": [1]}, FLAT, (0, None))[0] == [{1: "x_1"}, {}]
    own = SimpleNamespace(free_names=[{0: "batch", 1: "samples"}, {}])
    free, shapes = free_of(own, None, FLAT, (0, None))
    assert free == [{1: "samples"}, {}] and shapes[0] == {0: Dim.DYNAMIC, 1: Dim.AUTO}


def test_axes_that_are_not_there_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rate'"):
        free_of(Two(), {"rat": [0]}, FLAT, (0, None))
    with pytest.raises(LiftError, match="free_axes of input 'x' names axis 3; it has 3 dimensions"):
        free_of(Two(), {"x": [3]}, FLAT, (0, None))


def test_an_open_length_has_one_name_on_both_sides() -> None:
    net = whet.lift(Two(), (torch.randn(2, 5, 4), torch.tensor(1.0)), free_axes={"x": {1: "time"}})
    assert net.inputs[0].free == ((1, "time"),) and net.outputs[0].free == ((1, "time"),)
    assert net(torch.randn(3, 9, 4), torch.ones(3)).shape == (3, 9, 3)
