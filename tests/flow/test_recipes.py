"""Candidates are trained without harm, and not at all where there is no time for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import made
from spoken import spoken

from whet.compress.width import Width
from whet.core.run import Budget, Run
from whet.core.space import Decision, Space
from whet.core.study import Study
from whet.flow.evaluator import Evaluator
from whet.flow.folder import Folder
from whet.flow.optimize import _opened
from whet.flow.recipes import Trainer, find_recipe
from whet.flow.request import Request
from whet.flow.work import judged
from whet.hardware import targets
from whet.schedule.plan import Plan
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.train.speed import LEAST_STEPS

GOOD, ROUGH = Recipe(precision="f32"), Recipe(learning_rate=50.0, schedule="constant", warmup=0.0, precision="f32")


def trainer(folder: Path, told: list[str]) -> Trainer:
    net, task = made()
    progress = lambda event: told.append(str(event["stage"]))  # noqa: E731
    run = Run(task, None, net, 0, Budget(60.0), folder, fit, progress)  # type: ignore[arg-type]
    return Trainer(Study.in_folder(folder, {}, Space()), run)


def test_a_harmful_training_is_undone_and_halves_the_rate_of_its_kind(tmp_path: Path) -> None:
    told: list[str] = []
    train, net = trainer(tmp_path, told), made()[0].copy()
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    report = train(net, ROUGH, "short", samples=320)
    assert report.kept == "before" and all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())
    assert any("a short training made its candidate worse" in line for line in told)
    rates: list[float] = []
    again = trainer(tmp_path, [])
    real = again.run.trainer
    assert real is not None
    again.run.trainer = lambda *a, recipe, **k: rates.append(recipe.learning_rate) or real(*a, recipe=recipe, **k)
    for what in ("short", "full"):
        again(made()[0].copy(), GOOD, what, samples=64)  # type: ignore[arg-type]
    assert rates == [GOOD.learning_rate / 2, GOOD.learning_rate], "a resumed study remembers; other kinds keep theirs"


def test_what_is_too_fast_for_a_trained_network_is_not_held_against_fresh_cuts(tmp_path: Path) -> None:
    told: list[str] = []
    train, net = trainer(tmp_path, told), made()[0].copy()
    assert train(net, ROUGH, "full", goes_on=True, samples=320).kept == "before"
    assert any("a training in earnest of what was trained before made its candidate worse" in line for line in told)
    assert train._rates() == {"full again": 0.5}


def test_a_training_is_judged_on_as_many_samples_as_a_fiftieth_of_its_time_scores() -> None:
    asked: list[int] = []

    def score(samples: int) -> float:
        asked.append(samples)
        return 0.5

    assert judged(score, 0.0) == (0.5, 2000)
    assert judged(score, 60.0) == (0.5, 16_000)
    assert asked == [2000, 2000, 4000, 8000, 16_000]


@pytest.mark.parametrize(("what", "trained"), [("short", False), ("finish", False), ("full", False)])
def test_too_few_steps_are_no_training(tmp_path: Path, what: Any, trained: bool) -> None:
    train, net = trainer(tmp_path, []), made()[0].copy()
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    each = 0.5 / (32 * LEAST_STEPS)  # seconds a sample, at which half a second is just enough
    train.study.remember("training_seconds_short", [(train.operations(net), each * 1.1)])
    report = train(net, GOOD, what, seconds=0.5)
    assert (report.samples > 0) == trained
    if not trained:
        assert report.failure == f"0.5 s are {LEAST_STEPS / 1.1:.0f} steps, less than {LEAST_STEPS}"
        assert all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())
        train.study.remember("training_seconds_short", [(train.operations(net), each * 0.9)])
        assert train(net, GOOD, what, seconds=0.5).samples > 0


def test_the_speed_of_one_network_tells_that_of_another(tmp_path: Path) -> None:
    train, net = trainer(tmp_path, []), made()[0]
    operations = train.operations(net)
    assert train.last_speed == 0.0 and train.samples_per_second(net) == float("inf")
    train.study.remember("training_seconds_trial", [(operations / 2, 1e-3), (operations / 4, 0.75e-3)])
    assert train.samples_per_second(net) == pytest.approx(1 / 1.5e-3)


# -- finding the recipe ----------------------------------------------------------------------------------------------


def opened(out: Path, budget_seconds: float = 400.0, **options: Any) -> Evaluator:
    net, task = spoken()
    request = Request(
        net=net, task=task, target=targets.get("onnxruntime-cpu"), passes=(Width(),), finishers=(),
        budget_seconds=budget_seconds, out=out, **{"finds_recipe": True, "recipe": Recipe(precision="f32"), **options},
    )  # fmt: skip
    return _opened(request, Folder(out), Plan(), lambda event: None)[0]


def test_a_recipe_is_found_that_improves_cuts_which_the_one_at_hand_makes_worse(tmp_path: Path) -> None:
    """A network of convolutions and a GRU, trained with AdamW, cut to a quarter and repaired."""
    at_hand = Recipe(learning_rate=0.5, precision="f32")
    evaluator = opened(tmp_path / "r", math.inf, epochs=36.0, recipe=at_hand)
    find_recipe(evaluator)
    assert evaluator.request.recipe != at_hand and "found best of" in evaluator.recorder.notes[0]
    cut = evaluator.builder.structure(Decision({c.name: 0.25 for c in evaluator.request.space()})).net
    held, samples = evaluator.trainer.held_out, 20 * 32
    before, found = (
        evaluator.run.fit(cut.copy(), recipe=recipe, samples=samples, held_out=held)
        for recipe in (at_hand, evaluator.request.recipe)
    )
    assert before.kept == "before" and found.kept == "after" and found.held_after < 0.85 * found.held_before
    evaluator.folder.close()
    again = opened(tmp_path / "r", math.inf, epochs=36.0, recipe=at_hand)
    again.run.trainer = lambda *a, **k: pytest.fail("a resumed study trains again")
    find_recipe(again)
    assert again.request.recipe == evaluator.request.recipe and again.recorder.notes == evaluator.recorder.notes


def test_a_recipe_that_was_given_or_cannot_be_found_in_time_stays(tmp_path: Path) -> None:
    given = opened(tmp_path / "r", finds_recipe=False)
    given.run.trainer = lambda *a, **k: pytest.fail("it trains")
    find_recipe(given)
    assert given.request.recipe == Recipe(precision="f32") and not given.recorder.notes
    short = opened(tmp_path / "s", budget_seconds=0.01)
    find_recipe(short)
    assert short.request.recipe == Recipe(precision="f32") and "no time to try others" in short.recorder.notes[0]
    assert short.trainer.samples_per_second(short.request.net) < float("inf"), "the speed of training is known by then"
