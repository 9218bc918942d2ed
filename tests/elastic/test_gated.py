"""One-shot search: what is paid for decides, and choices settle."""

from __future__ import annotations

import math

import pytest
import torch
from test_supernet import lifted
from torch import nn
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.core.errors import SpecError, UnknownNameError
from whet.elastic.gated import BEGIN, Gated, Price, one_shot
from whet.elastic.relaxation import Relaxation
from whet.elastic.supernet import Supernet
from whet.hardware import targets
from whet.train.fit import fit
from whet.train.recipe import Recipe


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.outer(self.inner(x).relu())
        return y


class Branches(nn.Module):
    """The second branch is needed for the task of the tests, the first adds noise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Branch(), Branch()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x))
        return y


def network() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module = Branches()
    with torch.no_grad():
        module.first.outer.weight.mul_(0.01)
        module.first.outer.bias.zero_()
        module.second.outer.weight.mul_(8.0)
    return module, (torch.randn(4, 8),)


def made() -> tuple[Supernet, whet.Run]:
    net = lifted(network)
    torch.manual_seed(1)
    inputs = torch.randn(256, 8)
    with torch.no_grad():
        batches = [(part, net(part)) for part in inputs.split(32)]
    task = whet.Task("t", train=batches, val=batches, loss=functional.mse_loss, metric=whet.accuracy)
    run = whet.Run(task, targets.get("cpu"), net, trainer=fit)
    return Supernet(net, Depth(), run), run


EFFECTS = {"first:keep": (0.0, -0.5), "second:keep": (0.0, -0.5)}  # in the order (True, False)
GENTLE = Recipe(learning_rate=0.02, distillation=0.0, hints=())


@pytest.mark.parametrize("mixing", ["gates", "interpolation"])
def test_the_branch_that_is_not_needed_goes_and_the_other_stays(mixing: str) -> None:
    supernet, run = made()
    effects = {c.name: EFFECTS[c.name] for c in supernet.space}
    found = one_shot(supernet, run, effects, Price(latency=0.2), mixing=mixing, recipe=GENTLE, samples=256 * 30)
    assert found == whet.Decision({"first:keep": False})


def test_at_no_price_everything_stays_and_at_any_everything_goes() -> None:
    for price, kept in ((0.0, True), (100.0, False)):
        supernet, run = made()
        found = one_shot(supernet, run, EFFECTS, Price(latency=price), recipe=GENTLE, samples=256 * 20)
        assert found.get("second:keep", True) == kept


def test_expected_and_indecision_are_sums_over_the_values() -> None:
    supernet, _ = made()
    gated = Gated(Relaxation(supernet))
    p = [q.tolist() for q in gated.probabilities]
    tables = [torch.tensor(EFFECTS[c.name]) for c in gated.relaxation.choices]
    assert float(gated.expected(tables).detach()) == pytest.approx(sum(q[1] * -0.5 for q in p))
    assert float(gated.indecision().detach()) == pytest.approx(sum(v * (1 - v) for q in p for v in q))


def test_a_price_on_indecision_settles_the_choices() -> None:
    left = {}
    for price in (0.0, 1.0):
        supernet, _ = made()
        gated = Gated(Relaxation(supernet))
        optimizer = torch.optim.SGD(gated.logits, lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            (price * gated.indecision()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        left[price] = float(gated.indecision().detach())
    assert left[1.0] < 0.1 < left[0.0]


def test_wrong_effects_and_mixings_are_refused() -> None:
    supernet, run = made()
    with pytest.raises(SpecError, match="2 values; got 0 effects"):
        one_shot(supernet, run, {}, Price(), samples=1)
    with pytest.raises(UnknownNameError, match="did you mean 'gates'"):
        Gated(Relaxation(supernet), "gate")


def test_the_search_begins_near_the_trained_network() -> None:
    """Each identity has the odds exp(BEGIN) of the other value, so the likeliest decision is the network itself."""
    supernet, _ = made()
    gated = Gated(Relaxation(supernet))
    assert gated.decision == whet.Decision()
    for choice, p in zip(gated.relaxation.choices, gated.probabilities, strict=True):
        odds = p[choice.values.index(True)] / p[choice.values.index(False)]
        assert float(odds.detach()) == pytest.approx(math.exp(BEGIN), rel=1e-5) and BEGIN > 0


def test_what_is_trained_on_is_the_tasks_loss_and_both_prices() -> None:
    supernet, run = made()
    seen: list[tuple[Gated, whet.Task]] = []
    run.trainer = lambda net, task, **given: seen.append((net, task))  # type: ignore[assignment]
    one_shot(supernet, run, EFFECTS, Price(latency=0.3, indecision=0.7))
    ((gated, task),) = seen
    outputs, wanted = torch.randn(4, 8), torch.randn(4, 8)
    tables = [torch.tensor(EFFECTS[c.name]) for c in gated.relaxation.choices]
    with torch.no_grad():
        expected = run.task.loss(outputs, wanted) + 0.3 * gated.expected(tables) + 0.7 * gated.indecision()
        torch.testing.assert_close(task.loss(outputs, wanted), expected)
        assert float(gated.expected(tables)) < 0 < float(gated.indecision())


def test_in_evaluation_the_likeliest_decision_runs_alone() -> None:
    supernet, _ = made()
    gated, x = Gated(Relaxation(supernet)).eval(), torch.randn(3, 8)
    with torch.no_grad():
        torch.testing.assert_close(gated(x), supernet.whole(x))
        for choice, logits in zip(gated.relaxation.choices, gated.logits, strict=True):
            if choice.site == "second":
                logits[choice.values.index(False)] = 0.5
        without = supernet.extract(whet.Decision({"second:keep": False}))
        torch.testing.assert_close(gated(x), without(x))
