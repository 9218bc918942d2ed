"""What is done with candidates in earnest: by which recipe, from which weights, and what is built only once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_builder import builder, halved

from whet.core.errors import TrainingError
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow import training
from whet.flow.training import confirm
from whet.flow.turns import Done, Fit, alone
from whet.schedule.actions import Confirm, Finish, Train
from whet.train.recipe import Recipe
from whet.train.state import save_state

INT8 = Decision({"network:int8": "all"})
RECIPE = Recipe(learning_rate=0.1, hints="auto")


class Stand:
    """An evaluator whose training adds 1 to all weights and whose verified nets are kept."""

    def __init__(self, out: Path, better: str = "last") -> None:
        self.builder = builder(out)
        self.builder.finished = self.finished  # type: ignore[method-assign]
        self.request: Any = SimpleNamespace(recipe=RECIPE, task=self.builder.request.task, max_drop=0.01)
        self.study: Any = SimpleNamespace(trials=[])
        self.kept: Any = None
        self.better = better
        self.trained: list[tuple[Recipe, str, bool, dict[str, Any]]] = []
        self.verified: list[tuple[Result, Decision, int, int]] = []
        self.finishings = 0
        self.made = 100

    def finished(self, result: Result, decision: Decision) -> Result:
        self.finishings += 1
        return replace(result, net=result.net.copy())

    def train(self, net: Net, recipe: Recipe, what: str, goes_on: bool = False, **limit: Any) -> Any:
        self.trained.append((recipe, what, goes_on, limit))
        with torch.no_grad():
            for parameter in net.module.parameters():
                parameter.add_(1.0)
        return SimpleNamespace(samples=self.made, failure="" if self.made else "2 s are 3 steps")

    def fit(self, asked: Fit) -> Done:
        return Done(self.train(asked.net, asked.recipe, asked.what, asked.goes_on, **asked.limit))

    def quick(self, net: Net) -> tuple[float, float]:
        first = float(next(net.module.parameters()).mean())
        return (first if self.better == "last" else -first), 0.9

    def verify(self, result: Result, decision: Decision, samples: int, parent: int) -> Any:
        self.verified.append((result, decision, samples, parent))
        return "trial"


def train(stand: Stand, action: Train) -> Any:
    return alone(training.train(stand, action), stand.fit)


def finish(stand: Stand, action: Finish) -> Any:
    return alone(training.finish(stand, action), stand.fit)


def candidate(stand: Stand, samples: int = 0) -> Trial:
    found = Trial(4, "short", halved(stand.builder), 0.9, 0.01, 1.5, samples=samples)
    if samples:
        net = stand.builder.cut(found.decision).net
        save_state(net, stand.builder.request.out / "4.safetensors")
        found = replace(found, state="4.safetensors")
    stand.study.trials.append(found)
    return found


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_a_candidate_is_trained_by_its_share_of_the_rate_without_hints_and_its_samples_add_up(stand: Stand) -> None:
    begun = candidate(stand, samples=30)
    assert train(stand, Train(begun, 9.0, None, 0.3, settled=False)) == "trial"
    [(recipe, *how)] = stand.trained
    assert recipe == replace(RECIPE, learning_rate=0.1 * 0.3, hints=()) and how == ["full", False, {"seconds": 9.0}]
    [(_, decision, samples, parent)] = stand.verified
    assert (decision, samples, parent) == (begun.decision, 130, 4)


def test_one_that_inherits_nothing_counts_its_own_samples_and_a_budget_of_samples_limits_it(stand: Stand) -> None:
    train(stand, Train(candidate(stand), 9.0, 64.0, 1.0, settled=False))
    assert stand.trained[0][3] == {"samples": 64} and stand.verified[0][2] == 100


@pytest.mark.parametrize(("better", "share"), [("last", 1.0), ("first", 0.5)])
def test_what_is_settled_is_averaged_with_what_it_was_where_that_is_better(
    better: str, share: float, tmp_path: Path
) -> None:
    stand = Stand(tmp_path, better)
    begun = candidate(stand, samples=30)
    before = [p.clone() for p in stand.builder.rebuild(begun).module.parameters()]
    train(stand, Train(begun, 9.0, None, 0.3, settled=True))
    after = list(stand.verified[0][0].net.module.parameters())
    assert stand.trained[0][2] and all(
        torch.allclose(b - a, torch.tensor(share), atol=1e-5) for a, b in zip(before, after)
    )


def test_what_was_finished_a_moment_ago_is_trained_on_and_not_made_again(stand: Stand) -> None:
    full = replace(candidate(stand, samples=30), stage="full")
    finish(stand, Finish(full, INT8))
    assert not stand.trained and stand.verified[0][1:] == (full.decision.merge(INT8), 30, 4)
    finish(stand, Finish(full, INT8, seconds=5.0, rate=0.5))
    assert stand.finishings == 1 and stand.kept is None, "it was changed in place since"
    assert stand.verified[1][0].net is stand.verified[0][0].net and stand.verified[1][2] == 130
    assert [(what, recipe.learning_rate) for recipe, what, *_ in stand.trained] == [("finish", 0.05)]
    finish(stand, Finish(full, Decision({"network:int8": "asymmetric"})))
    finish(stand, Finish(full, INT8))
    assert stand.finishings == 3


def test_a_candidate_is_confirmed_with_the_weights_it_has(stand: Stand) -> None:
    begun = candidate(stand, samples=30)
    confirm(stand, Confirm(begun))  # type: ignore[arg-type]
    [(result, decision, samples, parent)] = stand.verified
    x = result.net.example[0]
    assert torch.equal(result.net(x), stand.builder.rebuild(begun)(x)) and not stand.trained
    assert result.changed and (decision, samples, parent) == (begun.decision, 30, 4)


def test_what_there_was_no_time_to_train_is_verified_only_within_the_limit(stand: Stand) -> None:
    stand.made = 0
    train(stand, Train(candidate(stand), 2.0, None, 1.0, settled=False))
    assert len(stand.verified) == 1, "its drop is at the limit as it is"
    far = replace(candidate(stand), drop=0.02)
    with pytest.raises(TrainingError, match="not trained: 2 s are 3 steps"):
        train(stand, Train(far, 2.0, None, 1.0, settled=False))
    assert len(stand.verified) == 1
