"""More candidates are looked for between two full trainings: new ones, and extensions of what was trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from resnet44 import SPACE, explored, rounds, trial
from situations import drive, situation

from whet.core.space import Decision
from whet.schedule.actions import Actions
from whet.schedule.goal import Goal
from whet.schedule.growth import GROWN, LEFT, MORE, Growth
from whet.schedule.prospects import Prospects


def test_where_the_best_cannot_be_beaten_more_candidates_are_looked_for() -> None:
    trials = explored()[:2]
    trials.append(trial(2, "full", 2.5, 0.009, 150_000, parent=1))
    stage, explorer = rounds(trials)
    chosen, gain = stage.prospects.choose(100.0)
    assert chosen is None and gain == 0.0, "none that waits would be faster"
    found = 0
    while drive(stage.growth.explore_more(100.0)):
        found += 1
    assert found == MORE
    assert explorer.aimed == pytest.approx(0.03, rel=0.3)


def test_no_more_are_looked_for_at_the_end_of_the_budget() -> None:
    trials = [*explored(), trial(4, "full", 4.6, 0.009, 150_000, parent=2)]
    stage, _ = rounds(trials, seconds=60.0)
    assert not drive(stage.growth.explore_more(20.0))


def test_a_structure_within_the_limit_is_extended_by_what_can_be_mended_beside_its_own_drop() -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.006, 150_000, parent=1)]
    stage, explorer = rounds(trials)
    grown = 0
    while drive(stage.growth.grow(100.0)):
        grown += 1
    assert grown == GROWN and explorer.base == trials[2].decision
    fresh = explorer.aimed
    again, other = rounds([*explored()[:2], replace(trials[2], drop=0.0)])
    assert drive(again.growth.grow(100.0)) and 0 < fresh < other.aimed
    child = trials[3]
    fresh_samples = stage.situation.history.fresh_samples(child)
    assert child.drop > 0.01 and 12_000 < fresh_samples < child.samples
    assert stage.prospects.recovery(0.01).expected(child.drop, fresh_samples, 120_000) < 0.0105


def test_one_extension_that_promises_something_is_enough() -> None:
    stage, explorer = rounds([*explored()[:2], trial(2, "full", 2.3, 0.006, 150_000, parent=1)])
    explorer.speedup = 2.8
    assert drive(stage.growth.grow(100.0)) and not drive(stage.growth.grow(100.0))


def test_one_that_was_explored_before_and_promises_something_is_enough_too() -> None:
    """Rungs of a supernet: x2.04 at 1.28% after 148 thousand images, once x1.75 was verified."""
    rung = trial(0, "short", 1.75, 0.0058, 148_000)
    wider = replace(trial(1, "short", 2.04, 0.0128, 148_000), decision=Decision(dict.fromkeys(SPACE.choices, False)))
    stage, _ = rounds([rung, wider, trial(2, "full", 1.75, 0.0064, 148_000, parent=0)])
    assert not drive(stage.growth.grow(130.0))
    stage, _ = rounds([rung, replace(wider, drop=0.05), trial(2, "full", 1.75, 0.0064, 148_000, parent=0)])
    assert drive(stage.growth.grow(130.0))


def test_an_extension_that_was_trained_and_missed_the_limit_promises_nothing() -> None:
    """The drops of a search of 75 seconds on digits, that trained one candidate four times and missed each time."""
    base, hopeful = trial(2, "full", 2.3, 0.0, 150_000, parent=1), trial(3, "short", 5.0, 0.0194, 199_000, parent=2)
    hopeful = replace(hopeful, decision=base.decision.merge(Decision({"block1:keep": False})))
    stage, _ = rounds([*explored()[:2], base, hopeful])
    assert not drive(stage.growth.grow(100.0))
    missed = replace(hopeful, number=4, stage="full", drop=0.0167, samples=260_000, parent=3)
    stage, _ = rounds([*explored()[:2], base, hopeful, missed])
    assert drive(stage.growth.grow(100.0))


def test_a_structure_that_missed_the_limit_is_not_extended() -> None:
    stage, _ = rounds([*explored()[:2], trial(2, "full", 2.3, 0.02, 150_000, parent=1)])
    assert not drive(stage.growth.grow(100.0))


def test_a_structure_that_lost_nothing_is_extended_though_its_int8_form_missed_the_limit() -> None:
    """The figures of a search on an MLP that int8 costs much, and cuts nothing."""
    short = trial(0, "short", 2.17, 0.0148, 63_232)
    trained = trial(1, "full", 1.96, -0.0113, 1_153_792, parent=0)
    int8 = Decision({**trained.decision, "network:int8": "all"})
    finished = replace(trial(2, "full", 2.10, 0.015, 1_336_576, parent=1), decision=int8)
    stage, explorer = rounds([short, trained, finished])
    assert drive(stage.growth.grow(37.0)) and explorer.base == trained.decision
    stage, _ = rounds([short, replace(trained, drop=0.004), finished])
    assert not drive(stage.growth.grow(37.0))


REFUSED = [Goal(None, budget_seconds=1200.0), Goal(0.01, budget_seconds=1200.0, trials=9)]


@pytest.mark.parametrize("goal", REFUSED)
def test_without_a_limit_or_with_counted_trials_nothing_is_looked_for(goal: Goal) -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.0, 150_000, parent=1)]
    stage, explorer = rounds(trials)
    given = situation(trials, SPACE, goal)
    growth = Growth(given, stage.explorer, Prospects(given))
    assert not drive(growth.explore_more(100.0)) and not drive(growth.grow(100.0))
    assert explorer.aimed == 0.0 and len(trials) == 3


def test_a_candidate_is_begun_only_while_a_training_in_earnest_can_follow() -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.0, 150_000, parent=1)]
    stage, explorer = rounds(trials, seconds=1200.0, file_seconds=3.0)
    asked: list[float] = []

    def one_more(until: float) -> Actions[bool]:
        asked.append(until)
        yield from ()
        return False

    explorer.one_more = one_more  # type: ignore[method-assign]
    drive(stage.growth.explore_more(100.0))
    drive(stage.growth.grow(100.0))
    clock = stage.situation.clock
    end = 1200.0 - clock.reserve_seconds() - clock.file_seconds  # its own file is to come
    assert asked == [pytest.approx(end - LEFT * 14.0)] * 2, "a short training takes 14 s here"
