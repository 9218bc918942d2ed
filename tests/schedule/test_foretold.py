"""What is told of a choice's values before any is applied, its scale, and what whole kinds gained together."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.space import Choice, Decision
from whet.graph.operations import total_operations
from whet.schedule.foretold import Foretold, normal, scaled, together
from whet.testing.networks import ResidualNet
from whet.testing.runs import planning_run

CHOICES = [Choice(f"{name}:width", (0.25, 0.5, 1.0), 1.0) for name in "abc"]
BY_NAME = {c.name: c for c in CHOICES}


def test_operations_left_are_those_of_the_networks() -> None:
    net = whet.lift(ResidualNet(3).eval(), torch.randn(1, 3, 32, 32))
    run, passes = planning_run(net), (Depth(), Width(streams=False))
    names = [c.name for p in passes for c in p.space(net, run.target)]
    found = Foretold.of(passes, net, run, names)
    assert set(found.log_operations) == set(names)
    whole = total_operations(net)
    for chosen, value in (("layer2.1:keep", False), ("layer1.{0..2}.conv1:width", 0.5)):
        choice = next(c for p in passes for c in p.space(net, run.target) if c.name == chosen)
        cut = net
        for each in passes:
            cut = each.apply(cut, Decision({chosen: value}), run).net
        told = math.exp(found.log_operations[chosen][choice.values.index(value)])
        assert told == pytest.approx(total_operations(cut) / whole, abs=0.01)
        assert found.log_operations[chosen][choice.values.index(choice.identity)] == 0.0


def test_passes_that_tell_nothing_and_choices_that_nobody_asked_for_are_left_out() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)), torch.randn(2, 4))
    assert Foretold.of([object()], net, planning_run(net), ["a:keep"]) == Foretold()  # type: ignore[list-item]
    assert Foretold.of([Width()], net, planning_run(net), ["a:keep"]) == Foretold()


def test_what_was_not_probed_is_the_forecast_on_the_scale_of_what_was() -> None:
    """a was found to do 0.06 where 3 was told, b told 1 is taken to do 0.02; c of which nothing is told, the mean."""
    rows = {"a:width": [3.0, 1.0, 0.0], "b:width": [1.0, 0.5, 0.0]}
    assert scaled({"a:width": 0.06}, rows, CHOICES, max) == pytest.approx(
        {"a:width": 0.06, "b:width": 0.02, "c:width": 0.06}
    )
    other = Choice("d:keep", (True, False), True)
    assert "d:keep" not in scaled({"a:width": 0.06}, rows, [*CHOICES, other], max)


def test_what_all_of_a_kind_gained_at_a_value_corrects_that_value_of_each() -> None:
    """Half of the channels gain twice what operations say; a quarter, never measured, is corrected as the half is."""
    rows = {"a:width": [-0.8, -0.2, 0.0], "b:width": [-0.4, -0.1, 0.0]}
    half = Decision({"a:width": 0.5, "b:width": 0.5})
    mixed = Decision({"a:width": 0.5, "b:width": 0.25})
    found = together(rows, BY_NAME, [(mixed, -9.0), (half, -0.6), (Decision({"a:width": 0.25}), -9.0)])
    assert found == {"a:width": pytest.approx([-1.6, -0.4, 0.0]), "b:width": pytest.approx([-0.8, -0.2, 0.0])}
    assert together(rows, BY_NAME, []) == rows


def test_a_row_of_distances_ends_at_one_and_what_gains_nothing_has_none() -> None:
    assert normal({"a:width": [-0.2, -0.4, 0.0], "b:width": [0.0, 0.0, 0.0]}, min) == (
        {"a:width": [0.5, 1.0, 0.0]}, {"a:width": -0.4},
    )  # fmt: skip
