"""Ranks in order: the singular value decomposition of a linear map, the penalty's closed form, and exact cuts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toy_training import F32, interrupted, network, task

import whet
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.task import Task
from whet.graph.empty import without_empty
from whet.graph.factors import FIRST, SECOND, put_chain
from whet.tasks.bundle import TensorBatches
from whet.train.fit import fit
from whet.train.ordered_ranks import Components, OrderedRanks, draw, found
from whet.train.recipe import Recipe
from whet.train.technique import Hooks, Session

PLAIN = Recipe("sgd", 0.2, weight_decay=0.0, momentum=0.9, clip_norm=0.0, warmup=0.0, precision="f32")
SINGULAR = torch.tensor([3.0, 2.0, 1.2, 0.6])


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))).Q


def linear() -> tuple[Net, Task]:
    """Return a product that is the map of the task already, in coordinates that have no order, and the task."""
    left, right, turn = orthogonal(6, 4, 0), orthogonal(8, 4, 1), orthogonal(4, 4, 2)
    x = torch.randn(256, 8, generator=torch.Generator().manual_seed(3))
    x = torch.linalg.qr(x).Q * 16  # the moments are the identity
    net = whet.lift(nn.Sequential(nn.Linear(8, 6, bias=False)).eval(), (x[:2],))
    first, second = nn.Linear(8, 4, bias=False), nn.Linear(4, 6, bias=False)
    root = SINGULAR.sqrt()
    first.weight.data, second.weight.data = turn @ (root[:, None] * right.T), (left * root) @ turn.T
    put_chain(net, "0", {FIRST: first, SECOND: second})
    wanted = x @ ((left * SINGULAR) @ right.T).T
    batches = TensorBatches(x, wanted, 64, shuffle=True)
    return net.settle(), Task("map", train=batches, val=[(x, wanted)], loss=functional.mse_loss, metric=whet.accuracy)


def truncations(net: Net, wanted: Tensor) -> list[float]:
    """Return |A - U_k V_k|^2 for k from 1."""
    first, second = (net.module.get_parameter(f"0.{name}.weight").detach() for name in (FIRST, SECOND))
    return [float((wanted - second[:, :k] @ first[:k]).square().sum()) for k in range(1, 5)]


def test_each_truncation_becomes_that_of_the_singular_value_decomposition() -> None:
    net, of = linear()
    first, second = (net.module.get_parameter(f"0.{name}.weight").detach() for name in (FIRST, SECOND))
    whole = second @ first
    best = [float(SINGULAR[k:].square().sum()) for k in range(1, 5)]
    before = truncations(net, whole)
    assert all(b > 1.3 * least for b, least in zip(before[:3], best, strict=False))
    fit(net, of, recipe=PLAIN, samples=64 * 300, techniques=(OrderedRanks(0.0, 0.0),))
    assert truncations(net, whole) == pytest.approx(best, rel=0.03, abs=0.02)
    left, free = linear()
    fit(left, free, recipe=PLAIN, samples=64 * 100)
    assert truncations(left, whole) == pytest.approx(before, rel=0.01, abs=0.01), "nothing else orders them"


def test_the_step_of_the_penalty_is_its_closed_form_and_small_tails_end() -> None:
    net, _ = linear()
    (layer,) = found(net)
    factor, other = (net.module.get_parameter(f"0.{name}.weight") for name in (FIRST, SECOND))
    before, beside = factor.detach().clone(), other.detach().clone()
    layer.shrink(0.05, 0.0, 4)
    for x, now in ((before, factor), (beside.T, other.T)):
        tail = [float(x[b:].norm()) for b in range(4)]
        for k in range(1, 4):
            wanted = 1 - 0.05 * tail[0] / 2 * sum(1 / tail[b] for b in range(k + 1))
            torch.testing.assert_close(now[k].detach(), x[k] * wanted)
        torch.testing.assert_close(now[0].detach(), x[0])
    assert layer.rank() == 4
    tails = [float(factor[b:].detach().norm() * other[:, b:].detach().norm()) for b in range(4)]
    layer.shrink(0.0, tails[2] / tails[0] * 1.01, 4)
    assert layer.rank() == 2 and float(factor[2:].norm()) == 0 == float(other[:, 2:].norm())
    factor.data[2:] = other.data[:, 2:] = 1.0  # as momentum does to what is zero
    layer.shrink(0.0, 0.0, 2)
    assert layer.rank() == 2
    layer.shrink(100.0, 0.0, 2)
    assert layer.rank() == 1 and float(factor[0].norm()) > 0


def test_ranks_of_all_layers_are_drawn_alike_and_the_others_are_whole() -> None:
    counts = Counter(draw((1, 3), step) for step in range(8000))
    assert set(counts) == {(0, 1), (1, 1), (1, 2), (1, 3)} and max(counts.values()) < 1.15 * min(counts.values())
    assert [draw((7, 9), step) for step in range(50)] == [draw((7, 9), step) for step in range(50)]


class Watch:
    """Notes in each step which components of the layers there are."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def begin(self, session: Session) -> Hooks:
        assert isinstance(session.net, Net)
        for site in ("0", "2"):
            session.net.layer(f"{site}.{SECOND}").register_forward_pre_hook(
                lambda module, given: self.seen.append((given[0] != 0).any(0).int().tolist())
            )
        return Hooks()


def two() -> Net:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3)).eval(), (torch.randn(4, 6),))
    put_chain(net, "0", {FIRST: nn.Linear(6, 4, bias=False), SECOND: nn.Linear(4, 8)})
    put_chain(net, "2", {FIRST: nn.Linear(8, 3, bias=False), SECOND: nn.Linear(3, 3)})
    return net.settle()


def test_one_layer_a_step_has_its_first_components_alone_and_a_judgement_all() -> None:
    net, watch = two(), Watch()
    fit(net, task(), recipe=PLAIN, samples=32 * 24, techniques=(OrderedRanks(0.0, 0.0), watch))
    steps = list(zip(watch.seen[::2], watch.seen[1::2], strict=True))
    for step, shown in enumerate(steps):
        at, rank = draw((4, 3), step)
        wanted = [[1] * 4, [1] * 3]
        wanted[at] = [int(i < rank) for i in range(len(wanted[at]))]
        assert list(shown) == wanted
    watch.seen.clear()
    net(torch.randn(4, 6))
    assert watch.seen == [[1] * 4, [1] * 3], "the hooks are gone"


def test_training_chooses_the_ranks_and_what_it_left_is_cut_exactly() -> None:
    net = two()
    fit(net, task(), recipe=F32, epochs=8, techniques=(OrderedRanks(1.0),))
    ranks = [layer.rank() for layer in found(net)]
    assert sum(ranks) < 7 and all(r >= 1 for r in ranks)
    narrow, x = without_empty(net), torch.randn(50, 6)
    assert [narrow.layer(f"{site}.{FIRST}").out_features for site in ("0", "2")] == ranks
    torch.testing.assert_close(narrow(x), net(x))


def test_components_of_convolutions_are_channels() -> None:
    net = whet.lift(nn.Sequential(nn.Conv2d(3, 5, 3)).eval(), (torch.randn(2, 3, 6, 6),))
    put_chain(net, "0", {FIRST: nn.Conv2d(3, 4, 3, bias=False), SECOND: nn.Conv2d(4, 5, 1)})
    (layer,) = found(net.settle())
    assert isinstance(layer, Components)
    shown = layer.first(torch.ones(2, 4, 4, 4), 3)
    assert shown.sum((0, 2, 3)).tolist() == [32, 32, 32, 0]


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    whole, resumed = interrupted(OrderedRanks(1.0), two, tmp_path)
    assert all(map(torch.equal, *(n.module.state_dict().values() for n in (whole, resumed))))


def test_without_products_it_is_said() -> None:
    for net in (network(), whet.lift(network().eval(), (torch.randn(4, 6),))):
        report = fit(net, task(), recipe=F32, samples=32, techniques=(OrderedRanks(),))
        assert "`svd`" in report.skipped["ordered-ranks"]


@pytest.mark.parametrize("wrong", [{"penalty": -1.0}, {"least": 2.0}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        OrderedRanks(**wrong)
