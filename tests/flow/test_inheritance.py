"""When a candidate that extends a trained structure is the same network as one cut anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.flow.inheritance import same_graph


class Scaled(nn.Module):
    """A layer, and a constant of integers that says which inputs it reads."""

    def __init__(self, order: list[int], width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(3, width)
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x[:, self.order])


@pytest.mark.parametrize(
    ("order", "width", "same"), [([0, 1, 2], 4, True), ([2, 1, 0], 4, False), ([0, 1, 2], 5, False)]
)
def test_graphs_are_the_same_by_code_shapes_and_the_places_that_they_read(
    order: list[int], width: int, same: bool
) -> None:
    nets = [whet.lift(module.eval(), torch.randn(2, 3)) for module in (Scaled([0, 1, 2]), Scaled(order, width))]
    assert same_graph(*nets) is same
