"""Integers are traded for bits: nothing at price zero, never a worse sum, never more bits at a higher price."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from whet import tasks
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.errors import DecisionError
from whet.core.run import Run
from whet.core.space import Decision
from whet.hardware import targets
from whet.pack.rate import LADDER, candidates, cheaper, cheapest, coded_bits, power_of, prices


def layer(seed: int = 0, most: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return integers, steps and moments of correlated inputs."""
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.randn(24, 24, generator=draw, dtype=torch.float64)
    inputs = torch.randn(500, 24, generator=draw, dtype=torch.float64) @ mixed
    weights = torch.round(torch.randn(1, 32, 24, generator=draw) * most / 3).clamp(-most, most).to(torch.int8)
    steps = (0.01 + 0.02 * torch.rand(1, 32, 1, generator=draw, dtype=torch.float64)).expand(1, 32, 24)
    return weights, steps, (inputs.T @ inputs / 500).unsqueeze(0)


def test_at_price_zero_nothing_changes() -> None:
    found = candidates(*layer(), most=7)
    assert torch.equal(cheapest(found, 0.0).integers, layer()[0]) and found[0].error == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_higher_price_never_takes_more_bits_and_no_sum_is_worse(seed: int) -> None:
    found = candidates(*layer(seed), most=7)
    asked = [0.0] + [10.0**k for k in range(-6, 2)]
    chosen = [cheapest(found, price) for price in asked]
    assert all(a.bits >= b.bits for a, b in pairwise(chosen))
    for price, best in zip(asked, chosen, strict=True):
        assert best.error + price * best.bits <= price * found[0].bits
        assert best.bits == pytest.approx(coded_bits(best.integers, 7))
    assert chosen[-1].bits < 0.3 * found[0].bits


def test_errors_are_of_the_outputs() -> None:
    weights, steps, moments = layer()
    for found in candidates(weights, steps, moments, 7)[:: len(LADDER) // 3]:
        lost = (found.integers.double() - weights.double()) * steps
        assert found.error == pytest.approx(float(torch.einsum("god,gde,goe->", lost, moments, lost)))


def test_later_weights_make_up_for_earlier_ones() -> None:
    """At the bits of what only shrinks each weight by itself, the error is less, as inputs are correlated."""
    weights, steps, moments = layer()
    found = candidates(weights, steps, moments, 7)
    small = torch.where(weights.abs() <= 1, torch.zeros_like(weights), weights)
    alone, bits = power_of((small - weights) * steps, moments), coded_bits(small, 7)
    assert min(each.error for each in found if each.bits <= bits) < 0.8 * alone


def test_what_is_held_stays_zero_and_integers_stay_in_range() -> None:
    weights, steps, moments = layer(most=2)
    for found in candidates(weights, steps, moments, 2, held=weights == 0):
        assert not found.integers[weights == 0].any() and found.integers.abs().max() <= 2


def test_a_network_takes_fewer_bits(digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.pack.rate.LADDER", (0.03, 0.1))
    monkeypatch.setattr("whet.pack.rate.ROUNDS", 1)
    task, target = tasks.get("digits").task, targets.get("cpu")
    run = Run(task, target, digits[0])
    net = WeightOnly().apply(digits[0], Decision({NETWORK: "int4"}), run).net
    priced = prices(net, run)
    same, less = priced.at(0.0), priced.at(1.0)
    weights = [
        {n: p for n, p in x.module.state_dict().items() if n.endswith("weight")} for x in (net, same.net, less.net)
    ]
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=1e-6) for n in weights[0])
    changed = [n for n in weights[0] if not torch.allclose(weights[0][n], weights[2][n], atol=1e-6)]
    assert changed and not less.skipped and len(less.changed) == len(same.changed)
    assert torch.equal(candidates(*layer(), most=7)[3].integers, candidates(*layer(), most=7)[3].integers)


def test_what_cannot_be_treated_is_said(digits: tuple[Any, Any]) -> None:
    run = Run(tasks.get("digits").task, targets.get("cpu"), digits[0])
    assert "quantize it first" in cheaper(digits[0], run, 0.1).skipped["network"]
    with pytest.raises(DecisionError, match="at least 0; got -1"):
        cheaper(digits[0], run, -1.0)
