"""Steps on the manifold of low rank: exact where the goal is of low rank, bounded truncation, ranks that follow."""

from __future__ import annotations

from dataclasses import replace
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
from whet.train.dynamical_ranks import DynamicalRanks, found, stepped
from whet.train.fit import fit
from whet.train.recipe import Recipe

PLAIN = Recipe("sgd", 0.1, weight_decay=0.0, momentum=0.0, clip_norm=0.0, warmup=0.0, precision="f32",
               schedule="constant")  # fmt: skip


def factors(rank: int, out: int = 7, inside: int = 9, most: int = 0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    second, first = (torch.randn(s, dtype=torch.float64, generator=generator) for s in ((out, rank), (rank, inside)))
    return functional.pad(second, (0, max(most - rank, 0))), functional.pad(first, (0, 0, 0, max(most - rank, 0)))


def product(pair: tuple[Tensor, Tensor]) -> Tensor:
    return pair[0] @ pair[1]


def rank_of(matrix: Tensor) -> int:
    return int(torch.linalg.matrix_rank(matrix, atol=1e-9))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_goal_of_low_rank_is_reached_in_one_step(rank: int) -> None:
    begun, goal = factors(3, most=3, seed=1), product(factors(rank, seed=2))
    slope = product(begun) - goal  # of |W - goal|^2 / 2
    after = stepped(*begun, slope, 1.0, 1e-10)
    torch.testing.assert_close(product(after), goal)
    assert int((after[1].abs().sum(1) > 0).sum()) == rank


def test_a_step_is_projected_to_old_and_new_bases_and_the_old_product_lies_in_them() -> None:
    begun, slope = factors(2, most=4), torch.randn(7, 9, dtype=torch.float64)
    before = product(begun)
    torch.testing.assert_close(product(stepped(*begun, slope, 0.0, 0.0)), before)
    left, right = torch.linalg.qr(begun[0][:, :2]).Q, torch.linalg.qr(begun[1][:2].T).Q
    turned, other = before @ right - 0.3 * slope @ right, before.T @ left - 0.3 * slope.T @ left
    u, v = (torch.linalg.qr(torch.cat(pair, 1)).Q for pair in ((turned, left), (other, right)))
    wanted = u @ (u.T @ before @ v - 0.3 * u.T @ slope @ v) @ v.T
    after = product(stepped(*begun, slope, 0.3, 0.0))
    torch.testing.assert_close(after, wanted)
    assert rank_of(after) == 4 and rank_of(before) == 2, "it can double"
    decayed = product(stepped(*begun, slope, 0.3, 0.0, decay=0.5))
    torch.testing.assert_close(decayed, wanted - 0.15 * before)


@pytest.mark.parametrize("tolerance", [0.05, 0.2, 0.5])
def test_truncation_loses_no_more_than_the_tolerance_and_as_much_as_it_can(tolerance: float) -> None:
    begun, slope = factors(3, most=6), torch.randn(7, 9, dtype=torch.float64)
    whole = product(stepped(*begun, slope, 0.2, 0.0))
    after = product(stepped(*begun, slope, 0.2, tolerance))
    bound = tolerance * float(whole.norm())
    assert float((after - whole).norm()) <= bound + 1e-12
    rank, values = rank_of(after), torch.linalg.svdvals(whole)
    assert 1 <= rank < 6 and float(values[rank - 1 :].norm()) > bound, "one less would lose more"


def test_what_goes_counts_together() -> None:
    values = torch.tensor([1.0, 0.08, 0.08, 0.08], dtype=torch.float64)
    begun = torch.diag(values), torch.eye(4, dtype=torch.float64)
    after = product(stepped(*begun, torch.zeros(4, 4, dtype=torch.float64), 0.1, 0.1))
    assert rank_of(after) == 3, "each is less than a tenth of all, two of them are not"


def test_small_singular_values_do_no_harm_and_a_small_step_descends() -> None:
    begun, goal = factors(3, most=3), product(factors(5, seed=4))
    begun[0][:, 2] *= 1e-13
    slope = product(begun) - goal
    tiny = product(stepped(*begun, slope, 0.5, 0.0))
    clean = product(stepped(begun[0][:, :2], begun[1][:2], slope, 0.5, 0.0))
    assert float((tiny - goal).norm()) < float(slope.norm()) and bool(tiny.isfinite().all()) and len(clean) == 7
    losses = [float((product(stepped(*begun, slope, rate, 0.0)) - goal).norm()) for rate in (0.0, 0.01, 0.05)]
    assert losses[0] > losses[1] > losses[2]


def chain(kind: str) -> Net:
    torch.manual_seed(0)
    if kind == "linear":
        net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).eval(), (torch.randn(4, 6),))
        put_chain(net, "0", {FIRST: nn.Linear(6, 4, bias=False), SECOND: nn.Linear(4, 8)})
        put_chain(net, "2", {FIRST: nn.Linear(8, 3, bias=False), SECOND: nn.Linear(3, 3)})
    else:
        layers = [nn.Conv2d(2, 6, 3, 2, 1), nn.Flatten(), nn.Linear(24, 3)]
        net = whet.lift(nn.Sequential(*layers).eval(), (torch.randn(4, 2, 4, 4),))
        put_chain(net, "0", {FIRST: nn.Conv2d(2, 3, 3, 2, 1, bias=False), SECOND: nn.Conv2d(3, 6, 1)})
    return net.settle()


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_training_takes_that_step_with_the_slope_of_the_whole_layer(kind: str) -> None:
    net = chain(kind)
    x = torch.randn(8, *net.example[0].shape[1:])
    y = torch.arange(8) % 3
    of = Task("step", train=TensorBatches(x, y, 8, shuffle=False), val=[(x, y)], loss=functional.cross_entropy,
              metric=whet.accuracy)  # fmt: skip
    whole = net.copy()
    first, second = whole.layer(f"0.{FIRST}"), whole.layer(f"0.{SECOND}")
    one = second.get_parameter("weight").detach().flatten(1), first.get_parameter("weight").detach().flatten(1)
    shape = (-1, *first.get_parameter("weight").shape[1:])
    leaf = (one[0] @ one[1]).view(shape).requires_grad_()
    functional.cross_entropy(_with(whole, leaf, x), y).backward()
    assert leaf.grad is not None
    wanted = product(stepped(*one, leaf.grad.flatten(1), 0.1 * 2.0, 1e-7))
    fit(net, of, recipe=PLAIN, samples=8, techniques=(DynamicalRanks(1e-7, 2.0),))
    after = [net.module.get_parameter(f"0.{n}.weight").detach().flatten(1) for n in (SECOND, FIRST)]
    torch.testing.assert_close(after[0] @ after[1], wanted, rtol=1e-4, atol=1e-5)
    assert not torch.equal(net.module.get_parameter(f"0.{SECOND}.bias"), second.get_parameter("bias"))


def _with(net: Net, weight: Tensor, x: Tensor) -> Tensor:
    """Return the net's outputs with a weight in the place of the product `0`."""
    bias = net.module.get_parameter(f"0.{SECOND}.bias")
    if weight.ndim == 4:
        hidden = functional.conv2d(x, weight, bias, 2, 1).flatten(1)
        return net.layer("2")(hidden)  # type: ignore[no-any-return]
    hidden = functional.linear(x, weight, bias).tanh()
    return net.layer(f"2.{SECOND}")(net.layer(f"2.{FIRST}")(hidden))  # type: ignore[no-any-return]


def test_ranks_fall_to_what_the_tolerance_needs_and_are_cut_exactly() -> None:
    net = chain("linear")
    fit(net, task(), recipe=F32, epochs=8, techniques=(DynamicalRanks(0.3),))
    ranks = [layer.rank for layer in found(net)]
    assert sum(ranks) < 7 and min(ranks) >= 1
    narrow, x = without_empty(net), torch.randn(50, 6)
    assert [narrow.layer(f"{site}.{FIRST}").out_features for site in ("0", "2")] == ranks
    torch.testing.assert_close(narrow(x), net(x))


def test_a_rank_grows_to_what_the_task_needs() -> None:
    net, goal = chain("linear"), product(factors(3, 8, 6)).float()
    net = whet.lift(nn.Sequential(nn.Linear(6, 8)).eval(), (torch.randn(4, 6),))
    first, second = nn.Linear(6, 5, bias=False), nn.Linear(5, 8)
    with torch.no_grad():
        first.weight[1:] = second.weight[:, 1:] = 0.0
    put_chain(net, "0", {FIRST: first, SECOND: second})
    x = torch.linalg.qr(torch.randn(64, 6)).Q * 8
    of = Task("map", train=TensorBatches(x, x @ goal.T, 64, shuffle=True), val=[(x, x @ goal.T)],
              loss=functional.mse_loss, metric=whet.accuracy)  # fmt: skip
    assert [layer.rank for layer in found(net.settle())] == [1]
    fit(net, of, recipe=replace(PLAIN, learning_rate=1.0), samples=64 * 60, techniques=(DynamicalRanks(0.02),))
    assert [layer.rank for layer in found(net)] == [3]
    weights = [net.module.get_parameter(f"0.{n}.weight").detach() for n in (SECOND, FIRST)]
    torch.testing.assert_close(weights[0] @ weights[1], goal, rtol=0.02, atol=0.02)


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    whole, resumed = interrupted(DynamicalRanks(0.2), lambda: chain("linear"), tmp_path)
    assert all(map(torch.equal, *(n.module.state_dict().values() for n in (whole, resumed))))


def test_without_products_it_is_said() -> None:
    for net in (network(), whet.lift(network().eval(), (torch.randn(4, 6),))):
        report = fit(net, task(), recipe=F32, samples=32, techniques=(DynamicalRanks(),))
        assert "`svd`" in report.skipped["dynamical-ranks"]


@pytest.mark.parametrize("wrong", [{"tolerance": -0.1}, {"tolerance": 1.0}, {"speed": 0.0}])
def test_values_that_cannot_be_meant_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        DynamicalRanks(**wrong)
