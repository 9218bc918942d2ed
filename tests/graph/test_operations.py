"""Operations of decisions from those of single choices, against those of the networks themselves."""

from __future__ import annotations

import random
from statistics import median

import pytest
import torch
from torch import nn

import whet
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.passes import Chain
from whet.decisions.enumerate import draw
from whet.graph.operations import REST, Operations, operations_by_layer, total_operations
from whet.networks.resnet import resnet
from whet.schedule.foretold import shares_of
from whet.testing.runs import planning_run


class Attention(nn.Module):
    """Two products that are in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        return torch.softmax(q @ k.transpose(1, 2), -1) @ v


def test_layers_and_what_is_in_none_are_told_apart() -> None:
    net = whet.lift(Attention().eval(), (torch.randn(1, 5, 8),))
    batch = len(net.example[0])
    assert operations_by_layer(net) == {"project": batch * 2 * 5 * 8 * 24, REST: batch * 2 * 2 * 5 * 5 * 8}


@pytest.mark.parametrize(("streams", "largest", "typical"), [(False, 1e-9, 1e-9), (True, 0.5, 0.1)])
def test_forecasts_are_products_of_single_choices(streams: bool, largest: float, typical: float) -> None:
    """They are exact where choices cut different dimensions; streams that are tied by a shortcut's zeros are not."""
    net = whet.lift(resnet(14).eval(), (torch.randn(1, 3, 16, 16),))
    run = planning_run(net)
    passes = Chain((Depth(), Width((0.25, 0.5, 1.0), "weight_norm", streams=streams)))
    space = passes.space(net, run.target)
    operations = Operations(net, passes, space, run)
    assert operations({}) == total_operations(net)
    errors = []
    for seed in range(8):
        decision = draw(space, random.Random(seed), {})
        actual = total_operations(passes.apply(net, decision, run).net)
        errors.append(abs(operations(decision) / actual - 1))
    assert max(errors) < largest and median(errors) < typical


def test_what_passes_tell_of_operations_is_what_their_networks_have() -> None:
    net = whet.lift(resnet(14).eval(), (torch.randn(1, 3, 16, 16),))
    run = planning_run(net)
    passes = (Depth(), Width((0.25, 0.5, 1.0), "weight_norm", streams=False))
    space = Chain(passes).space(net, run.target)
    built = Operations(net, Chain(passes), space, run)
    told = Operations(net, Chain(()), space, run, shares_of(passes, net, run))
    for choice in space:
        for value in choice.values:
            assert told({choice.name: value}) == pytest.approx(built({choice.name: value}), rel=1e-6)
