"""Which trained weights a candidate begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_builder import builder
from torch import nn

import whet
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.builder import Builder
from whet.flow.inheritance import inherit, same_graph
from whet.train.state import save_state


@pytest.fixture
def made_by(tmp_path: Path) -> Builder:
    return builder(tmp_path)


def trained(by: Builder, number: int, decision: Decision, samples: int, added: float) -> Trial:
    """Return a trial whose weights are those of the original and `added`."""
    net = by.cut(decision).net
    with torch.no_grad():
        for parameter in net.module.parameters():
            parameter.add_(added)
    save_state(net, by.request.out / f"{number}.safetensors")
    return Trial(number, "full", decision, 0.9, 0.0, 1.0, samples=samples, state=f"{number}.safetensors")


def decisions(by: Builder) -> tuple[Decision, Decision]:
    """Return a cut of the first group, and one that also cuts the second."""
    first, second = list(by.space.choices)[:2]
    return Decision({first: 0.5}), Decision({first: 0.5, second: 0.5})


def test_the_longest_training_of_a_structure_that_is_extended_is_gone_on_from(made_by: Builder) -> None:
    half, both = decisions(made_by)
    trials = [
        trained(made_by, 0, half, 900, 0.01),
        trained(made_by, 1, half, 5000, 0.02),
        trained(made_by, 2, half, 10, 3.0),
    ]
    net = made_by.cut(both).net
    found, parent = inherit(made_by, trials, both, net)
    assert parent is trials[1] and found is not net and same_graph(found, net)
    again, parent = inherit(made_by, trials, half, made_by.cut(half).net)
    assert parent is trials[1]
    x = net.example[0]
    assert torch.equal(again(x), made_by.rebuild(trials[1])(x))


def test_what_is_finished_cut_otherwise_or_has_no_weights_is_no_parent(made_by: Builder) -> None:
    half, both = decisions(made_by)
    name = next(iter(half))
    other = next(v for v in made_by.space.choices[name].values if v not in (0.5, made_by.space.choices[name].identity))
    trials = [
        trained(made_by, 0, Decision({name: other}), 10, 0.1),
        Trial(
            1, "full", half.merge(Decision({"network:int8": "all"})), 0.9, 0.0, 1.0, samples=9, state="1.safetensors"
        ),
        Trial(2, "short", half, 0.9, 0.0, 1.0, samples=9),
    ]
    net = made_by.cut(both).net
    assert inherit(made_by, trials, both, net) == (net, None)


def test_a_parent_that_leads_to_another_graph_is_not_taken(made_by: Builder) -> None:
    half, both = decisions(made_by)
    other = whet.lift(nn.Sequential(nn.Linear(8, 3)).eval(), torch.randn(2, 8))
    assert inherit(made_by, [trained(made_by, 0, half, 10, 0.1)], both, other) == (other, None)


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
