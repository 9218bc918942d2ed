"""Quantization for all: sub-networks trained as they will be quantized lose less when they are."""

from __future__ import annotations

import copy

import pytest
import torch
from test_supernet import ARCHITECTURES, lifted, made, perceptron
from torch import Tensor
from torch.nn import functional

import whet
from whet.core.errors import SpecError
from whet.elastic.rounding import Rounding
from whet.elastic.supernet import Supernet
from whet.graph.fold import fold_batch_norms
from whet.train.fit import fit
from whet.train.recipe import Recipe


def weights(net: whet.Net, bits: int) -> dict[str, Tensor]:
    own = dict(net.module.named_parameters())
    return Rounding(net, bits).weights(net, own)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_folded_batch_norm_rounds_to_the_same_values(bits: int) -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    for layer in net.layers().values():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 2.0)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    folded = fold_batch_norms(net)
    plain, own = weights(net, bits), dict(net.module.named_parameters())
    for name, rounded in weights(folded, bits).items():
        factor = dict(folded.module.named_parameters())[name] / own[name]
        same = torch.isclose(rounded, factor * plain[name], rtol=1e-4, atol=1e-7)
        assert float(same.float().mean()) > 0.999
        assert max(len(channel.unique()) for channel in rounded) <= 2**bits - 1


def test_ranges_are_moving_averages_of_what_layers_read() -> None:
    net, width, run = perceptron()
    rounding = Rounding(net)
    supernet = Supernet(net, width, run, rounding=rounding)
    ((x, _),) = run.task.val
    first = rounding.index["0"]
    with torch.no_grad():
        before = supernet.eval()(x)
        assert not rounding.seen.any()
        supernet.train()(x)
        assert rounding.seen.all()
        assert float(rounding.high[first]) == float(x.max()) and float(rounding.low[first]) == float(x.min())
        supernet(2 * x)
        assert float(rounding.high[first]) == pytest.approx(1.05 * float(x.max()), rel=1e-5)
        after = supernet.eval()(x)
    assert not torch.equal(before, after) and torch.allclose(before, after, atol=0.05)
    assert not any(layer._forward_pre_hooks for layer in supernet.sub(whet.Decision()).net.layers().values())


def test_every_sub_network_loses_less_to_rounding_when_trained_under_it() -> None:
    """With 3 bits; the rival gets its ranges from the same data, and rounds after training."""
    net, width, run = perceptron()
    ((x, y),) = run.task.val
    under = Supernet(net, width, run, rounding=Rounding(net, 3))
    plain = Supernet(net, width, run)
    recipe = Recipe(learning_rate=0.2, precision="f32")
    for supernet in (under, plain):
        fit(supernet, run.task, recipe=recipe, epochs=200)
    rounded = Supernet(plain.whole, width, run, rounding=Rounding(net, 3))
    with torch.no_grad():
        for _ in range(20):
            rounded.train()(x)
    least = whet.Decision({c.name: 0.25 for c in under.space})
    for decision in (whet.Decision(), least):
        losses = []
        for supernet in (under, rounded):
            supernet.eval().active = decision
            with torch.no_grad():
                losses.append(float(functional.cross_entropy(supernet(x), y)))
        assert losses[0] < losses[1]


def test_its_state_is_the_supernets() -> None:
    net = lifted(ARCHITECTURES["encoder"])
    _, passes, run = made(net)
    supernet = Supernet(net, passes, run, rounding=Rounding(net))
    with torch.no_grad():
        supernet.train()(*net.example)
    other = Supernet(net, passes, run, rounding=Rounding(net))
    other.load_state_dict(copy.deepcopy(supernet.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(*net.example), supernet.eval()(*net.example))
    assert any(name.startswith("rounding.") for name in supernet.state_dict())


def test_one_bit_is_refused() -> None:
    with pytest.raises(SpecError, match="got 1"):
        Rounding(lifted(ARCHITECTURES["mlp"]), 1)
