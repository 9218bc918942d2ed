"""What was found out about a network is kept until the network changes."""

from __future__ import annotations

import gc
from weakref import ref

import torch
from torch import nn

import whet
from whet.core.net import Net
from whet.graph.last_known import LastKnown, weights_version


def network() -> Net:
    return whet.lift(nn.Sequential(nn.Linear(4, 3)).eval(), (torch.randn(2, 4),))


def test_it_is_made_once_for_each_network_and_version() -> None:
    known, made, net, other = LastKnown[int](), list[int](), network(), network()

    def make() -> int:
        made.append(1)
        return len(made)

    assert [known.of(net, 0, make), known.of(net, 0, make), known.of(other, 0, make)] == [1, 1, 2]
    assert [known.of(net, 1, make), known.of(net, 1, make), known.of(net, 0, make)] == [3, 3, 4]


def test_a_change_of_weights_in_place_is_another_version_and_no_network_is_kept_alive() -> None:
    net = network()
    before = weights_version(net)
    with torch.no_grad():
        net.layer("0").weight.mul_(2.0)
    assert weights_version(net) > before
    known = LastKnown[str]()
    known.of(net, 0, lambda: "something")
    module = ref(net.module)
    del net
    gc.collect()
    assert module() is None and not known._held
