"""One-hot mixtures silence what the decision cuts; others pass gradients on to what made them."""

from __future__ import annotations

import pytest
import torch
from test_supernet import lifted, made, perceptron, some
from torch import nn

import whet
from whet.core.errors import SpecError
from whet.decisions.mixtures import binary_gates
from whet.elastic.relaxation import Relaxation
from whet.elastic.supernet import Supernet
from whet.networks.resnet import ResNet


@pytest.fixture(scope="module")
def relaxation() -> Relaxation:
    return Relaxation(made(lifted(lambda: (ResNet(1), (torch.randn(2, 3, 32, 32),))))[0]).eval()


def test_one_hot_mixtures_are_the_networks_that_the_decisions_cut(relaxation: Relaxation) -> None:
    supernet, compared = relaxation.supernet, 0
    net, blocks = supernet.whole, [c.name for c in supernet.space if c.kind == "keep"]
    for decision in (*some(supernet), whet.Decision(dict.fromkeys(blocks[1:], False))):
        mixtures = relaxation.one_hot(decision)
        assert relaxation.likeliest(mixtures) == supernet.space.canonical(decision)
        result = supernet.passes.apply(net, decision, supernet.run)
        if result.skipped:  # a width whose group was named after a layer of a dropped block is not cut
            continue
        compared += 1
        with torch.no_grad():
            cut = result.net.eval()(*net.example)
            torch.testing.assert_close(relaxation(mixtures, *net.example), cut, rtol=1e-4, atol=1e-5)
    assert compared >= 3


@pytest.mark.parametrize("kind", ["keep", "width"])
def test_gradients_lead_back_from_what_is_cut(relaxation: Relaxation, kind: str) -> None:
    """What is silenced twice would have no gradient there."""
    own = [c for c in relaxation.choices if c.kind == kind]
    smallest = whet.Decision({c.name: min(c.values) for c in own})
    mixtures = [m.requires_grad_() for m in relaxation.one_hot(smallest)]
    relaxation(mixtures, *relaxation.supernet.whole.example).sum().backward()
    for choice, mixture in zip(relaxation.choices, mixtures, strict=True):
        assert choice not in own or (mixture.grad is not None and mixture.grad.abs().sum() > 0), choice.name


def test_gradients_reach_the_logits_and_the_weights(relaxation: Relaxation) -> None:
    net = relaxation.supernet.whole
    logits = [nn.Parameter(torch.zeros(len(c.values))) for c in relaxation.choices]
    relaxation([binary_gates(one) for one in logits], *net.example).square().sum().backward()
    assert sum(float(one.grad.abs().sum()) > 0 for one in logits if one.grad is not None) > len(logits) // 2
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.module.parameters())


def test_so_many_mixtures_as_choices(relaxation: Relaxation) -> None:
    with pytest.raises(SpecError, match="got 1"):
        relaxation([torch.ones(2)], *relaxation.supernet.whole.example)


def test_what_is_cut_is_silenced_once_so_outputs_go_with_the_mixture_and_not_with_its_square() -> None:
    """The last layer reads what the last choice cuts: half a mixture gives the mean of both outputs."""
    net, width, run = perceptron()
    relaxation = Relaxation(Supernet(net, width, run)).eval()
    last = relaxation.choices[-1]
    ends = [relaxation.one_hot(whet.Decision({last.name: value})) for value in (0.25, 1.0)]
    half = [(a + b) / 2 for a, b in zip(*ends, strict=True)]
    with torch.no_grad():
        low, high, between = (relaxation(mixtures, *net.example) for mixtures in (*ends, half))
    assert not torch.allclose(low, high)
    torch.testing.assert_close(between, (low + high) / 2)
