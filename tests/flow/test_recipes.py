"""Candidates are trained without harm, and not at all where there is no time for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from quick import made

from whet.core.run import Budget, Run
from whet.core.space import Space
from whet.core.study import Study
from whet.flow.recipes import Trainer
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


@pytest.mark.parametrize(("what", "trained"), [("short", False), ("finish", False), ("full", True)])
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
