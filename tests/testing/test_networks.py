"""The networks of the conformance suites: repeatable, with statistics that matter, each of its own kind of block."""

import pytest
import torch
from torch import nn

from whet.testing.networks import NETWORKS, ResidualNet, make


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_gives_the_same_network_whose_norms_are_not_neutral(name: str) -> None:
    (one, example), (other, _), (third, _) = make(name), make(name), make(name, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))
    assert not one.training and all(len(x) == 2 for x in example)
    for layer in one.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_mean.abs().max() > 0


def test_a_projection_has_parameters_and_padding_has_none() -> None:
    padded, projected = (sum(p.numel() for p in ResidualNet(3, projection=p).parameters()) for p in (False, True))
    assert projected > padded
