"""Empty atoms are cut where that changes no output, what is left is noted, and other weights can be cut alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import AxesError
from whet.core.net import Net
from whet.graph.empty import EMPTIED, emptied, without_empty
from whet.graph.probe import apart
from whet.testing.networks import make


def perceptron(*middle: nn.Module) -> Net:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 12), *middle, nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)]
    return whet.lift(nn.Sequential(*layers).eval(), torch.randn(4, 6))


def empty(net: Net, site: str, reader: str, *atoms: int) -> None:
    with torch.no_grad():
        for name in ("weight", "bias"):
            net.layer(site).get_parameter(name)[list(atoms)] = 0.0
        net.layer(reader).get_parameter("weight")[:, list(atoms)] = 0.0


def test_empty_atoms_go_and_what_is_left_adds_up_over_several_cuts() -> None:
    net = perceptron()
    empty(net, "0", "2", 0, 5)
    empty(net, "2", "4", 1)
    narrow = without_empty(net)
    assert [narrow.layer(n).get_parameter("weight").shape[0] for n in ("0", "2", "4")] == [10, 7, 3]
    assert apart(narrow(*net.example).detach(), net(*net.example).detach()) < 1e-6
    assert narrow.module.meta[EMPTIED] == {"0": [1, 2, 3, 4, 6, 7, 8, 9, 10, 11], "2": [0, 2, 3, 4, 5, 6, 7]}
    empty(narrow, "0", "2", 0, 4)  # atoms 1 and 6 of those there were
    again = without_empty(narrow)
    assert again.module.meta[EMPTIED]["0"] == [2, 3, 4, 7, 8, 9, 10, 11]
    assert again.copy().module.meta[EMPTIED] == again.module.meta[EMPTIED]
    fresh = emptied(perceptron(), again.module.meta[EMPTIED])
    shapes = [{n: t.shape for n, t in x.module.state_dict().items()} for x in (fresh, again)]
    assert shapes[0] == shapes[1] and fresh.module.meta[EMPTIED] == again.module.meta[EMPTIED]


def test_a_net_without_empty_atoms_is_the_net_itself() -> None:
    net = whet.lift(*make("resnet20"))
    assert without_empty(net) is net and emptied(net, {}) is net


def test_one_atom_of_a_site_stays_where_all_are_empty() -> None:
    net = perceptron()
    empty(net, "0", "2", *range(12))
    narrow = without_empty(net)
    assert narrow.module.meta[EMPTIED] == {"0": [0]} and narrow.layer("0").get_parameter("weight").shape[0] == 1


def test_what_a_norm_averages_over_stays() -> None:
    net = perceptron(nn.LayerNorm(12))
    with torch.no_grad():
        for layer, name in (("0", "weight"), ("0", "bias"), ("1", "weight"), ("1", "bias")):
            net.layer(layer).get_parameter(name)[3] = 0.0
        net.layer("3").get_parameter("weight")[:, 3] = 0.0
    assert without_empty(net) is net


def test_atoms_that_there_are_not_are_told() -> None:
    with pytest.raises(AxesError, match="neurons 0 to 11"):
        emptied(perceptron(), {"0": [3, 12]})
