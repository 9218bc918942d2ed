"""Sums of products stay within an accumulator, whatever the inputs are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import quantize_weight
from whet.graph.grids import Grid
from whet.train.bounded_sums import BoundedSums, bits_needed, integer_layers, integers, project
from whet.train.fit import fit


def rounded(bits: int, group: int = 0) -> nn.Sequential:
    module = network()
    for name in ("0", "2"):
        module.set_submodule(name, quantize_weight(module.get_submodule(name), Grid(bits, group)))
    return module


@pytest.mark.parametrize("signed", [False, True])
def test_the_bits_are_those_that_the_worst_inputs_need(signed: bool) -> None:
    """The largest and smallest sums that inputs of 8 bits give fit, and one bit fewer would not hold them."""
    torch.manual_seed(0)
    weights = torch.randint(-7, 8, (20, 50))
    low, high = (-128, 127) if signed else (0, 255)
    most = torch.where(weights > 0, weights * high, weights * low).sum(1)
    least = torch.where(weights > 0, weights * low, weights * high).sum(1)
    found = bits_needed(weights, 8, signed).tolist()
    for needed, top, bottom in zip(found, most.tolist(), least.tolist(), strict=True):
        assert -(2 ** (needed - 1)) <= bottom and top <= 2 ** (needed - 1) - 1
        assert max(top, -bottom) > 2 ** (needed - 3) - 1  # the bound takes inputs of either sign at their largest


@pytest.mark.parametrize(("bits", "group"), [(4, 0), (4, 3), (8, 0)])
def test_a_layer_is_brought_to_the_bound_and_no_further(bits: int, group: int) -> None:
    layer: Any = quantize_weight(nn.Linear(96, 16), Grid(bits, group))
    small = layer.weight.detach()[:4].clone() * 0.02
    layer.weight.data[:4] = small
    before = integers(layer).abs().sum(1)
    bound = float(before.float().median())
    project(layer, bound)
    after = integers(layer).abs().sum(1)
    assert (after <= bound).all() and (after[before > bound] > 0.7 * bound).all()
    assert torch.equal(layer.weight.detach()[:4], small)
    assert torch.equal(after[before <= bound], before[before <= bound])


def test_a_trained_network_never_overflows_and_learns_all_the_same() -> None:
    technique = BoundedSums(bits=15, inputs=8)
    plain, bounded = rounded(4), rounded(4)
    fit(plain, task(), recipe=F32, epochs=12)
    report = fit(bounded, task(), recipe=F32, epochs=12, techniques=(technique,))
    needed = {name: bits_needed(integers(layer), 8) for name, layer in integer_layers(bounded).items()}
    assert all((bits <= 15).all() for bits in needed.values()) and not report.skipped
    assert max(int(bits_needed(integers(layer), 8).max()) for layer in integer_layers(plain).values()) > 15
    assert report.losses[-1] < 0.93 * report.losses[0]
    zeros = [float((integers(m[name]) == 0).float().mean()) for m in (plain, bounded) for name in (0, 2)]
    assert sum(zeros[2:]) > sum(zeros[:2])
    assert not any(layer.weight_scale.requires_grad for layer in integer_layers(bounded).values())


def test_eight_bits_keep_their_steps_while_they_are_bounded() -> None:
    module = rounded(8)
    report = fit(module, task(), recipe=F32, epochs=4, techniques=(BoundedSums(bits=17),))
    assert not report.skipped
    assert all((bits_needed(integers(layer), 8) <= 17).all() for layer in integer_layers(module).values())


def test_the_bound_is_that_of_the_paper() -> None:
    assert BoundedSums(16, 8).bound == (2**15 - 1) / 2**8
    assert BoundedSums(16, 8, signed=True).bound == 2 * BoundedSums(16, 8).bound
    with pytest.raises(ValueRangeError, match="take at least 10 bits"):
        BoundedSums(bits=8, inputs=8)
