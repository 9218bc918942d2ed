"""One-hot mixtures silence what the decision cuts; others pass gradients on to what made them."""

from __future__ import annotations

import pytest
import torch
from test_supernet import ARCHITECTURES, lifted, made, some
from torch import nn

import whet
from whet.core.errors import SpecError
from whet.elastic.relaxation import Relaxation
from whet.search.mixtures import binary_gates


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_one_hot_mixtures_are_the_networks_that_the_decisions_cut(name: str) -> None:
    net = lifted(ARCHITECTURES[name])
    supernet, passes, run = made(net)
    relaxation = Relaxation(supernet).eval()
    for decision in some(supernet):
        mixtures = relaxation.one_hot(decision)
        assert relaxation.likeliest(mixtures) == supernet.space.canonical(decision)
        with torch.no_grad():
            cut = passes.apply(net, decision, run).net.eval()(*net.example)
            torch.testing.assert_close(relaxation(mixtures, *net.example), cut, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_logits_and_the_weights() -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    relaxation = Relaxation(made(net)[0]).eval()
    logits = [nn.Parameter(torch.zeros(len(c.values))) for c in relaxation.choices]
    relaxation([binary_gates(one) for one in logits], *net.example).square().sum().backward()
    assert sum(float(one.grad.abs().sum()) > 0 for one in logits if one.grad is not None) > len(logits) // 2
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in relaxation.supernet.whole.module.parameters())


def test_so_many_mixtures_as_choices() -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    relaxation = Relaxation(made(net)[0])
    with pytest.raises(SpecError, match="got 1"):
        relaxation([torch.ones(2)], *net.example)
    assert isinstance(relaxation.supernet.whole, whet.Net)
