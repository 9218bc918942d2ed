"""Lottery tickets: rewinding to the bit, how many are left of which weights, and the controls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.errors import TrainingError
from whet.core.net import Net
from whet.graph.zeros import holds
from whet.train import tickets as module
from whet.train.tickets import Ticket, from_start, pruned, shuffled, tickets, trained

LIMITS: dict[str, Any] = {"recipe": F32, "samples": 32 * 24}


def untrained() -> Net:
    return whet.lift(network().eval(), (torch.randn(4, 6),))


def weights_of(net: Net) -> dict[str, Tensor]:
    return {name: net.layer(name).get_parameter("weight").detach() for name in ("0", "2")}


@pytest.fixture(scope="module")
def found() -> list[Ticket]:
    return list(tickets(untrained(), task(), rounds=3, gone=0.25, **LIMITS))


def test_each_round_takes_its_share_of_what_is_left_and_half_of_the_last_layer(found: list[Ticket]) -> None:
    assert len(found) == 4
    left = {"0": 192, "2": 96}
    for n, ticket in enumerate(found):
        for name, size, rate in (("0", 192, 0.25), ("2", 96, 0.125)):
            assert int(ticket.masks[name].sum()) == left[name] == pytest.approx(size * (1 - rate) ** n, abs=1)
            left[name] -= int(rate * left[name] + 0.5)
        assert ticket.left == sum(int(m.sum()) for m in ticket.masks.values()) / 288


def test_those_that_go_are_the_smallest_after_training_among_those_left(found: list[Ticket]) -> None:
    for before, after in pairwise(found):
        for name, weight in weights_of(before.net).items():
            stayed, was = after.masks[name], before.masks[name]
            assert not (stayed & ~was).any(), "nothing comes back"
            assert weight[stayed].abs().min() >= weight[was & ~stayed].abs().max()
    smallest_at_first = weights_of(untrained())["0"].abs()
    gone = ~found[1].masks["0"]
    assert smallest_at_first[gone].max() > smallest_at_first[~gone].min(), "not the smallest of before"


def test_what_is_left_begins_where_it_began_to_the_bit(found: list[Ticket], monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = untrained(), list[Net]()

    def watched(given: Net, *args: Any, **options: Any) -> Any:
        seen.append(given.copy())
        return fit(given, *args, **options)

    fit = module.fit
    monkeypatch.setattr(module, "fit", watched)
    again = list(tickets(net, task(), rounds=2, gone=0.25, **LIMITS))
    start = weights_of(net)
    for begun, ticket in zip(seen, again, strict=True):
        for name, weight in weights_of(begun).items():
            assert torch.equal(weight, start[name] * ticket.masks[name])
        assert torch.equal(begun.layer("0").get_parameter("bias"), net.layer("0").get_parameter("bias"))
    for one, other in zip(found, again, strict=False):
        assert all(map(torch.equal, *(t.net.module.state_dict().values() for t in (one, other))))


def test_what_went_stays_zero_and_the_rest_learns(found: list[Ticket]) -> None:
    start = weights_of(untrained())
    for ticket in found:
        for name, weight in weights_of(ticket.net).items():
            mask = ticket.masks[name]
            assert not weight[~mask].any() and (weight[mask] != start[name][mask]).float().mean() > 0.95
            assert holds(ticket.net.layer(name))


def test_a_weight_that_begins_at_zero_learns_too() -> None:
    net = untrained()
    nn.init.zeros_(net.layer("2").get_parameter("weight"))
    first = next(tickets(net, task(), rounds=1, **LIMITS))
    assert weights_of(first.net)["2"].abs().min() > 0


def test_all_together_the_smallest_of_all_go() -> None:
    first = trained(untrained(), {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights_of(untrained()).items()},
                    task(), **LIMITS)  # fmt: skip
    masks = pruned(first, 0.5, each=False)
    left = torch.cat([w[masks[n]].abs() for n, w in weights_of(first.net).items()])
    gone = torch.cat([w[~masks[n]].abs() for n, w in weights_of(first.net).items()])
    assert len(left) == 144 and left.min() >= gone.max()


def test_controls_have_the_same_numbers_elsewhere_or_otherwise(found: list[Ticket]) -> None:
    masks = found[-1].masks
    drawn = shuffled(masks, 3)
    assert {n: int(m.sum()) for n, m in drawn.items()} == {n: int(m.sum()) for n, m in masks.items()}
    assert all((drawn[n] != masks[n]).any() for n in masks) and not torch.equal(shuffled(masks, 4)["0"], drawn["0"])
    other = untrained()
    nn.init.normal_(other.layer("0").get_parameter("weight"))
    begun = weights_of(from_start(other, masks))["0"]
    assert torch.equal(begun != 0, masks["0"]) and torch.equal(begun[masks["0"]], weights_of(other)["0"][masks["0"]])


def test_what_cannot_be_meant_is_told() -> None:
    for wrong in ({"gone": 0.0}, {"gone": 1.0}, {"rounds": 0}):
        with pytest.raises(ValueRangeError):
            next(tickets(untrained(), task(), **LIMITS, **wrong))
    with pytest.raises(TrainingError, match="1000 weights"):
        next(tickets(untrained(), task(), least=1000, **LIMITS))
