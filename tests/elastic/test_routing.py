"""Routing: larger budgets take nothing away, every budget is kept, and what matters most stays longest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from test_gated import Branch
from test_supernet import ARCHITECTURES, lifted
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.compress.importances import Frozen
from whet.compress.width import Width
from whet.core.errors import SpecError, TrainingError
from whet.core.space import Choice, Decision, Space
from whet.decisions.enumerate import point, size
from whet.elastic.relaxation import Relaxation
from whet.elastic.routing import (
    Plan,
    Routed,
    Router,
    finetune,
    gumbel_softmax,
    measured,
    parameter_savings,
    train_router,
)
from whet.elastic.supernet import Supernet
from whet.graph.axes import analyze
from whet.hardware import targets
from whet.train.fit import fit
from whet.train.recipe import Recipe

SPACE = Space(
    [
        Choice("a:width", (1.0, 0.25, 0.5), 1.0),
        Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0),
        Choice("c:keep", (True, False), True),
    ]
)
SAVINGS = {"a:width": (0.0, 0.3, 0.2), "b:width": (0.21, 0.14, 0.07, 0.0), "c:keep": (0.0, 0.25)}
SCALES = (1.0, 0.2, 1.6, 0.6)
GENTLE = Recipe(learning_rate=0.02, distillation=0.0, precision="f32")


class Branches(nn.Module):
    """Four residual branches of equal size that matter more or less: their outputs are scaled by `SCALES`."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch() for _ in SCALES)
        with torch.no_grad():
            for branch, scale in zip(self.branches, SCALES, strict=True):
                branch.outer.weight.mul_(scale)  # type: ignore[operator, union-attr]
                branch.outer.bias.mul_(scale)  # type: ignore[operator, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        for branch in self.branches:
            x = branch(x)
        return x


def branches() -> tuple[Router, Relaxation, whet.Run]:
    net = lifted(lambda: (Branches(), (torch.randn(4, 8),)))
    torch.manual_seed(1)
    with torch.no_grad():
        batches = [(part, net(part)) for part in torch.randn(256, 8).split(64)]
    task = whet.Task("t", train=batches, val=batches, loss=functional.mse_loss, metric=whet.accuracy)
    run = whet.Run(task, targets.get("cpu"), net, trainer=fit)
    supernet = Supernet(net, Depth(), run)
    return Router(supernet.space, parameter_savings(supernet)), Relaxation(supernet), run


def loss_of(relaxation: Relaxation, run: whet.Run, decisions: list[Decision]) -> list[float]:
    mixtures = [torch.stack(rows) for rows in zip(*map(relaxation.one_hot, decisions), strict=True)]
    return measured(relaxation, mixtures, list(run.task.train), run.task.loss).tolist()


@pytest.fixture(scope="module")
def trained() -> tuple[Router, Relaxation, whet.Run]:
    router, relaxation, run = branches()
    errors = train_router(router, relaxation, run)
    assert len(errors) == 4 and min(errors) < 0.5
    return router, relaxation, run


def test_parameters_are_kept_within_every_budget_and_a_larger_one_takes_nothing_away(trained: Any) -> None:
    router, relaxation, _ = trained
    supernet = relaxation.supernet
    assert all(saved == (0.0, 0.25) for saved in router.savings)
    kept_before: set[str] = set()
    for twentieths in range(5, 21):
        budget = twentieths / 20
        decision = router.decision(budget)
        share = supernet.extract(decision).parameter_count / supernet.whole.parameter_count
        assert budget - 0.25 < share <= budget
        assert share == pytest.approx(router.cost(decision))
        kept = {c.name for c in supernet.space if decision.of(c)}
        assert kept_before <= kept
        kept_before = kept
    assert router.decision(1.0) == Decision()


def test_the_branches_that_matter_most_stay_longest(trained: Any) -> None:
    router, relaxation, run = trained
    names = [c.name for c in router.choices]
    without = loss_of(relaxation, run, [Decision({name: False}) for name in names])
    ranked = [name for _, name in sorted(zip(without, names, strict=True), reverse=True)]
    for count in (1, 2, 3):
        decision = router.decision(count / 4)
        assert {c.name for c in router.choices if decision.of(c)} == set(ranked[:count])


def test_weights_and_router_are_fine_tuned_together() -> None:
    router, relaxation, run = branches()
    train_router(router, relaxation, run, Plan(rounds=1))
    supernet, budget = relaxation.supernet, 0.5
    routed = Routed(relaxation, router, budget)
    before = {name: p.detach().clone() for name, p in routed.named_parameters()}
    (loss_before,) = loss_of(relaxation, run, [router.decision(budget)])
    report = finetune(routed, run, Plan(price=0.01), recipe=GENTLE, samples=256 * 40)
    assert report.samples == 256 * 40
    changed = {name for name, p in routed.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith("router.") for name in changed)
    assert sum(name.startswith("relaxation.") for name in changed) == 16
    (loss_after,) = loss_of(relaxation, run, [router.decision(budget)])
    assert loss_after < loss_before
    x = torch.randn(5, 8)
    with torch.no_grad():
        small = supernet.extract(router.decision(budget))
        torch.testing.assert_close(routed(x), small(x))
    assert small.parameter_count <= budget * supernet.whole.parameter_count


@pytest.mark.parametrize("seed", range(3))
def test_no_weights_make_a_larger_budget_choose_less(seed: int) -> None:
    router = Router(SPACE, SAVINGS)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.normal_(0, 2, generator=source)
    assert router.smallest == pytest.approx(0.24)
    settings = [-50 + i / 2 for i in range(201)]
    for smaller, larger in pairwise(map(router.at, settings)):
        for choice, saved in zip(router.choices, router.savings, strict=True):
            assert saved[choice.values.index(larger.of(choice))] <= saved[choice.values.index(smaller.of(choice))]
    assert (router.cost(router.at(-1e6)), router.at(1e6)) == (pytest.approx(0.24), Decision())
    costs = [router.cost(router.decision(0.25 + 0.03 * i)) for i in range(26)]
    assert all(cost <= 0.25 + 0.03 * i for i, cost in enumerate(costs)) and costs == sorted(costs)


def test_the_gap_is_that_of_the_expected_cost_beyond_the_tolerance() -> None:
    router = Router(SPACE, SAVINGS)
    torch.manual_seed(0)
    logits = [torch.randn(1, len(c.values)) for c in SPACE]
    saved = sum(float(one.softmax(-1)[0] @ torch.tensor(SAVINGS[c.name])) for one, c in zip(logits, SPACE, strict=True))
    expected = (1 - saved - 0.24) / 0.76
    for setting, tolerance in ((0.0, 0.02), (1.0, 0.02), (expected + 0.01, 0.02), (expected - 0.1, 0.0)):
        wanted = max(0.0, abs(expected - setting) - tolerance)
        assert float(router.gap(logits, torch.tensor([setting]), tolerance)) == pytest.approx(wanted, abs=1e-5)


def test_draws_are_one_hot_with_the_probabilities_of_the_softmax_and_gradients() -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.0, -0.5, 0.3], requires_grad=True)
    draws = gumbel_softmax(logits.expand(40_000, 3), source)
    torch.testing.assert_close(draws.sum(1), torch.ones(40_000))
    torch.testing.assert_close(draws.detach().mean(0), logits.detach().softmax(-1), atol=0.01, rtol=0)
    (draws @ torch.tensor([0.0, 1.0, 5.0])).mean().backward()
    assert logits.grad is not None and logits.grad[2] > 0 > logits.grad[0]


def decoder() -> tuple[Router, Relaxation, whet.Run]:
    """A decoder that has learnt to count in strides, its heads and neurons sorted by importance, layer by layer."""
    net = lifted(ARCHITECTURES["decoder"])
    torch.manual_seed(1)
    counts = torch.randint(0, 64, (256, 1)) + torch.randint(1, 5, (256, 1)) * torch.arange(13)
    pairs = list(zip((counts[:, :-1] % 64).split(64), (counts[:, 1:] % 64).split(64), strict=True))

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    task = whet.Task("t", train=pairs, val=pairs, loss=loss, metric=whet.accuracy)
    fit(net, task, recipe=Recipe("adamw", 3e-3, distillation=0.0, precision="f32"), epochs=40)
    run = whet.Run(task, targets.get("cpu"), net, trainer=fit)
    importance = Frozen.of(net, "taylor", run)
    width = Width((0.25, 0.5, 1.0), importance, tie="none", round_to=1, streams=False)
    groups = analyze(net).groups
    kinds = [c for c in width.space(net, run.target) if groups[c.site].kind in ("heads", "neurons")]
    supernet = Supernet(net, width, run, space=Space(kinds))
    return Router(supernet.space, parameter_savings(supernet)), Relaxation(supernet), run


def test_a_transformer_routed_over_heads_and_neurons_beats_the_mean_sub_network_of_its_cost() -> None:
    router, relaxation, run = decoder()
    space, whole = relaxation.supernet.space, relaxation.supernet.whole.parameter_count
    assert len(space) == 4 and size(space) == 81
    train_router(router, relaxation, run)
    every = [point(space, rank) for rank in range(size(space))]
    losses = loss_of(relaxation, run, every)
    chosen = []
    for budget in (0.5, 0.65, 0.8):
        decision = router.decision(budget)
        share = relaxation.supernet.extract(decision).parameter_count / whole
        assert budget - 0.15 < share <= budget + 1e-6
        cost = router.cost(decision)
        alike = [loss for d, loss in zip(every, losses, strict=True) if cost - 0.1 < router.cost(d) <= cost + 1e-6]
        assert losses[every.index(decision)] <= sum(alike) / len(alike)
        chosen.append(share)
    assert chosen == sorted(chosen)


def test_a_surrogate_that_is_never_good_enough_is_an_error() -> None:
    router, relaxation, run = branches()
    with pytest.raises(TrainingError, match=r"within the threshold of 0\.0"):
        train_router(router, relaxation, run, Plan(rounds=1, decisions=8, steps=5, threshold=0.0))


def test_wrong_savings_and_budgets_are_refused() -> None:
    for wrong in ((0.0, 0.3), (0.1, 0.3, 0.2), (0.0, -0.3, 0.2)):
        with pytest.raises(SpecError, match=r"savings of choice 'a:width'.*got"):
            Router(SPACE, {**SAVINGS, "a:width": wrong})
    with pytest.raises(SpecError, match="nothing to route"):
        Router(Space(list(SPACE)[2:]), {"c:keep": (0.0, 0.0)})
    with pytest.raises(SpecError, match=r"costs 0\.24; got a budget of 0\.1"):
        Router(SPACE, SAVINGS).decision(0.1)
