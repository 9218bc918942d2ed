"""The range test takes the recipe that leaves least of the damage of cuts, within its samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import whet
from whet.core.net import Net
from whet.train.fit_report import FitReport
from whet.train.range_test import BETTER, Found, RangeTest, candidates
from whet.train.recipe import Recipe
from whet.train.speed import LEAST_STEPS

BATCH = 10
LEAST = LEAST_STEPS * BATCH
ORIGINAL, DAMAGE = 0.5, 2.0
Left = Callable[[Recipe, int], float]


def net(name: str) -> Net:
    made = whet.lift(nn.Linear(2, 2), (torch.zeros(1, 2),), name=name)
    return made


def outcome(
    left: Left, samples: float, base: Recipe | None = None, rise: float = 0.0, seconds: float = math.inf
) -> tuple[Found, RangeTest]:  # fmt: skip
    """Return what is found where training leaves `left(recipe, samples)` of a cut's damage."""
    cuts, trained = [net("first"), net("second")], []

    def loss(which: Net) -> float:
        return ORIGINAL + (0.0 if which.name == "original" else DAMAGE)

    def train(which: Net, recipe: Recipe, samples: int) -> FitReport:
        trained.append(which)
        before = loss(which)
        after = before + rise if which.name == "original" else ORIGINAL + DAMAGE * left(recipe, samples)
        return FitReport(samples, samples // BATCH, 1.0, held_before=before, held_after=after)

    test = RangeTest(train, loss, net("original"), cuts, BATCH, samples, lambda: len(trained) >= seconds)
    return test.run(base or Recipe()), test


def test_none_is_begun_when_time_is_up() -> None:
    found, _ = outcome(of("adamw", 3e-4, 0.4), 200 * LEAST, seconds=4)
    assert len(found.tried) == 4 and found.recipe == Recipe()
    assert outcome(of("adamw", 3e-4, 0.4), 200 * LEAST, seconds=12)[0].recipe.optimizer == "adamw"


def of(optimizer: str, rate: float, short: float, long: float | None = None) -> Left:
    """Return a table in which one recipe leaves so much after a short and a long training, and the others all."""
    better = long if long is not None else short
    return lambda r, n: (
        (short if n <= LEAST else better) if (r.optimizer, r.learning_rate) == (optimizer, rate) else 0.9
    )


def test_the_recipe_that_leaves_least_is_found() -> None:
    found, test = outcome(of("adamw", 3e-3, 0.4), 200 * LEAST)
    assert (found.recipe.optimizer, found.recipe.learning_rate, found.short) == ("adamw", 3e-3, 1.0)
    assert found.recipe.weight_decay == 0.01 and Recipe().weight_decay != 0.01
    assert {round(t.left, 6) for t in found.tried} == {0.4, 0.9}, "the shares of the damage that are left"
    assert test.used <= test.samples and {t.cut for t in found.tried} == {0, 1}
    assert len({t.recipe for t in found.tried}) == len(candidates(Recipe())) + 1, "all of them, and another schedule"


def test_the_recipe_at_hand_stays_unless_another_is_better() -> None:
    base = Recipe(learning_rate=0.05)
    for less, stays in ((0.8 * BETTER, True), (1.5 * BETTER, False)):
        found, _ = outcome(of("sgd", 0.15, 0.9 - less), 200 * LEAST, base)
        assert (found.recipe == base) == stays
    found, _ = outcome(lambda r, n: 0.5 if r.schedule == "one-cycle" else 0.9, 200 * LEAST)
    assert found.recipe.schedule == "one-cycle"


def test_long_trainings_tell_the_rate_and_short_ones_their_share_of_it() -> None:
    """After few steps 0.005 leaves least, after many 0.05 does; short trainings then go at a tenth."""

    def left(recipe: Recipe, samples: int) -> float:
        best = math.log(0.005 if samples <= LEAST else 0.05)
        return 0.3 + 0.1 * abs(math.log(recipe.learning_rate) - best) + 0.3 * (recipe.optimizer != "sgd")

    found, _ = outcome(left, 200 * LEAST)
    assert found.recipe == Recipe() and found.short == pytest.approx(0.1)


@pytest.mark.parametrize(("rise", "share"), [(0.9 * DAMAGE, 1.0), (1.1 * DAMAGE, 1 / 3)])
def test_the_rate_is_lowered_where_it_harms_the_original_more_than_the_cut(rise: float, share: float) -> None:
    found, _ = outcome(of("adamw", 1e-3, 0.4), 200 * LEAST, rise=rise)
    assert found.recipe.learning_rate == pytest.approx(1e-3 * share)


def test_what_diverges_counts_as_harm() -> None:
    found, _ = outcome(lambda r, n: math.nan if r.optimizer == "sgd" else 1.0, 200 * LEAST)
    assert found.recipe.optimizer == "adamw" and max(t.left for t in found.tried) == 3.0


@pytest.mark.parametrize("budget", [4.5, 8, 15, 60, 400])
def test_the_samples_are_kept_to(budget: float) -> None:
    found, test = outcome(of("adamw", 1e-3, 0.4), budget * LEAST)
    assert test.used <= test.samples and found.recipe.optimizer == "adamw"


def test_too_little_to_tell_by_leaves_the_recipe_and_says_so() -> None:
    found, test = outcome(of("adamw", 1e-3, 0.4), 3.9 * LEAST)
    assert found.recipe == Recipe() and "no time" in found.why and not test.used
    slight, _ = outcome(of("adamw", 1e-3, 0.75), 5 * LEAST)
    assert slight.recipe == Recipe(), "short trainings alone must tell clearly"
    harmless = RangeTest(lambda *a: FitReport(), lambda n: 1.0, net("original"), [net("first")], BATCH, 100 * LEAST)
    assert harmless.run(Recipe()).why == "the cuts tried did no damage"
