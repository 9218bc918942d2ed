from __future__ import annotations

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import SpecError
from whet.core.spec import check
from whet.testing.networks import NETWORKS, make


def net() -> whet.Net:
    return whet.lift(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), torch.randn(2, 4))


@pytest.mark.parametrize("name", NETWORKS)
def test_lifted_networks_keep_every_rule(name: str) -> None:
    lifted = whet.lift(*make(name), check=False)
    assert check(lifted) is lifted


def test_a_missing_layer_is_told() -> None:
    broken = net()
    next(n for n in broken.graph.nodes if n.op == "call_module").target = "gone"
    with pytest.raises(SpecError, match="calls 'gone', which is no layer"):
        check(broken)


def test_a_dead_parameter_is_told() -> None:
    broken = net()
    broken.module.add_module("spare", nn.Linear(2, 2))
    with pytest.raises(SpecError, match=r"parameter 'spare\.weight' is read by no node"):
        check(broken)


def test_a_fixed_batch_is_told() -> None:
    broken = net()
    with broken.graph.inserting_before(next(n for n in broken.graph.nodes if n.op == "output")) as _:
        last = next(n for n in broken.graph.nodes if n.op == "output").args[0]
        one = broken.graph.call_function(torch.ops.aten.slice.Tensor, (last, 0, 0, 1))
    next(n for n in broken.graph.nodes if n.op == "output").args = (one,)
    broken.module.recompile()
    with pytest.raises(SpecError, match="a batch of 3 gives"):
        check(broken)


def test_an_example_of_one_is_told() -> None:
    broken = whet.Net(net().module, (torch.randn(1, 4),))
    with pytest.raises(SpecError, match="at least two"):
        check(broken)
