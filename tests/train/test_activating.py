"""Activating while pruning: which weights go, that no neuron dies of it, and the rate of dead ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.train.activating import activated, dead_share
from whet.train.tickets import tickets

LIMITS: dict[str, Any] = {"recipe": F32, "samples": 32 * 24}


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_negative_weights_that_moved_least_go_of_all_layers_together() -> None:
    after, before = ({n: drawn(s + i, 6, 9) for i, n in enumerate("ab")} for s in (0, 10))
    left = {n: drawn(20 + i, 6, 9) > -0.5 for i, n in enumerate("ab")}
    found = activated(after, before, left, 15)
    gone = {n: left[n] & ~found[n] for n in left}
    assert sum(int(g.sum()) for g in gone.values()) == 15 and all(bool(g.any()) for g in gone.values())
    assert all((after[n][gone[n]] < 0).all() and not (found[n] & ~left[n]).any() for n in left)
    moved = {n: (after[n] - before[n]).abs() for n in left}
    stay = torch.cat([moved[n][found[n] & (after[n] < 0)] for n in left])
    assert max(float(moved[n][gone[n]].max()) for n in left) <= float(stay.min())
    everything = activated(after, before, left, 1000)
    assert all(torch.equal(everything[n], left[n] & (after[n] >= 0)) for n in left)


def hidden(weight: Tensor, bias: Tensor) -> Net:
    """Return two rectified layers, of which the second has the weight."""
    module = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3))
    with torch.no_grad():
        module[2].weight.copy_(weight), module[2].bias.copy_(bias)  # type: ignore[operator]
        module[0].weight.copy_(drawn(0, 12, 5)), module[0].bias.zero_()  # type: ignore[operator]
    return whet.lift(module.eval(), (torch.randn(2, 5),))


def test_behind_rectifiers_no_neuron_dies_of_it_and_some_come_to_life() -> None:
    weight, x = drawn(1, 20, 12) - 0.3, (drawn(2, 64, 5),)
    masks = activated({"w": weight}, {"w": torch.zeros_like(weight)}, {"w": torch.ones(20, 12) > 0}, 40)
    bias = drawn(3, 20)
    before, after = (hidden(w, bias) for w in (weight, weight * masks["w"]))
    first = (x[0] @ drawn(0, 12, 5).T).relu()
    was, now = ((first @ w.T + bias) > 0 for w in (weight, weight * masks["w"]))
    assert not (was & ~now).any() and (now & ~was).any()
    rates = [dead_share(net, [x]) for net in (before, after)]
    total = first.numel() + was.numel()
    assert rates[0] == pytest.approx((int((first == 0).sum()) + int((~was).sum())) / total)
    assert rates[1] == pytest.approx((int((first == 0).sum()) + int((~now).sum())) / total)


def test_a_network_without_rectifiers_has_no_rate() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(3, 4), nn.Tanh()).eval(), (torch.randn(2, 3),))
    assert dead_share(net, [(torch.randn(8, 3),)]) is None
    assert dead_share(hidden(drawn(1, 20, 12), drawn(3, 20)), []) is None


def test_tickets_lose_their_share_of_these_beside_the_smallest() -> None:
    net = whet.lift(network().eval(), (torch.randn(4, 6),))
    plain = list(tickets(net, task(), rounds=2, gone=0.25, **LIMITS))
    found = list(tickets(net, task(), rounds=2, gone=0.25, activating=0.05, **LIMITS))
    weights = {n: found[0].net.layer(n).get_parameter("weight").detach() for n in ("0", "2")}
    begun = {n: net.layer(n).get_parameter("weight").detach() for n in weights}
    smallest = {
        n: torch.zeros(w.numel(), dtype=torch.bool).index_fill(
            0, torch.argsort(w.abs().flatten(), stable=True)[: int(w.numel() * rate + 0.5)], True
        ).view(w.shape)
        for (n, w), rate in zip(weights.items(), (0.2, 0.1), strict=True)
    }  # fmt: skip
    wanted = activated(weights, begun, {n: ~s for n, s in smallest.items()}, int(0.05 * 288))
    assert all(torch.equal(found[1].masks[n], wanted[n]) for n in wanted)
    assert any((found[1].masks[n] != plain[1].masks[n]).any() for n in wanted)
    assert found[2].left < found[1].left
    for wrong in (0.25, -0.1):
        with pytest.raises(ValueRangeError, match="activating"):
            next(tickets(net, task(), gone=0.25, activating=wrong, **LIMITS))
