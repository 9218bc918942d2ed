"""What became of structures that were trained in earnest."""

from __future__ import annotations

from dataclasses import replace

from resnet44 import SPACE, explored, rounds, told, trial
from situations import situation

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.goal import Goal
from whet.schedule.trained import Trained

INT8 = Decision({"block0:keep": False, "network:int8": "all"})
SHORT, FULL = trial(0, "short", 2.0, 0.03, 10_000), trial(1, "full", 1.9, 0.008, 90_000, 0)
FINISHED = replace(trial(2, "full", 2.6, 0.012, 90_000, 1), decision=INT8)
BETTER = replace(trial(3, "full", 2.6, 0.009, 99_000, 1), decision=INT8)


def test_the_speed_that_was_measured_counts_and_not_the_one_that_was_told() -> None:
    stage, _ = rounds([*explored(), told(4, 3.5, 0.011), trial(5, "full", 2.0, 0.012, 150_000, parent=4)])
    assert stage.prospects.trained.forecast_gain(stage.situation.study.trials[5]) == 2.0
    assert stage.prospects.trained.forecast_gain(trial(6, "full", 2.0, 0.012, 150_000, parent=1)) == 2.48


def test_what_was_measured_without_finishers_gains_by_them_as_the_untouched_network_does() -> None:
    """ResNet-20's first trained structure, x1.07 in f32, was not finished as int8 alone had x1.81."""
    int8 = Decision({"network:int8": "all"})
    untouched = replace(trial(0, "full", 1.8, 0.0, 0), decision=int8)
    measured = trial(2, "full", 1.1, 0.006, 90_000, parent=1)
    finished = replace(trial(3, "full", 2.1, 0.007, 90_000, parent=2), decision=measured.decision.merge(int8))
    stage, _ = rounds([untouched, told(1, 2.1, 0.012), measured, finished], finishers=True)
    forecast_gain = stage.prospects.trained.forecast_gain
    assert forecast_gain(measured) == 1.1 * 1.8 and stage.due(0, 10.0) is None
    assert forecast_gain(replace(finished, parent=1)) == 2.1
    before, _ = rounds([untouched, told(1, 2.1, 0.012), measured], finishers=True)
    assert before.due(0, 10.0) == measured


def test_a_structure_that_training_on_did_not_mend_is_left() -> None:
    """The MLP: a quarter of everything stayed at 3% through three trainings, and a candidate of x2.9 had none."""
    first = trial(4, "full", 2.48, 0.013, 150_000, parent=1)
    for drop, stuck in ((0.0129, True), (0.0135, True), (0.0105, False)):
        later = trial(5, "full", 2.48, drop, 400_000, parent=4)
        stage, _ = rounds([*explored(), first, later])
        assert stage.prospects.trained.is_stuck(later) is stuck and not stage.prospects.trained.is_stuck(first), drop
        chosen, _ = stage.prospects.choose(1.0)
        assert chosen is not None and (chosen.number == 5) is not stuck, (drop, chosen.number)


def trained(*trials: Trial) -> Trained:
    given = situation(list(trials), SPACE, Goal(0.01))
    return Trained(given.history, given.finishing)


def test_a_finished_form_is_no_structure_and_one_verified_as_it_was_had_no_training_in_earnest() -> None:
    confirmed = trial(3, "full", 1.9, 0.008, 10_000, 0)
    found = trained(SHORT, FULL, FINISHED, confirmed)
    assert found.structures() == [FULL, confirmed] and found.in_earnest() == [FULL]


def test_a_structure_is_as_bad_as_the_worse_of_itself_and_its_best_finished_form() -> None:
    found = trained(SHORT, FULL, FINISHED, BETTER)
    assert found.finishing_of(FULL) == BETTER and found.worse(FULL) == replace(FULL, drop=0.009)
    assert trained(SHORT, FULL).worse(FULL) == FULL
    unharmed = replace(BETTER, number=2, drop=0.001)
    assert trained(SHORT, FULL, unharmed).worse(FULL).drop == FULL.drop


def test_what_was_trained_on_or_failed_then_is_gone_on_with() -> None:
    other, failed = trial(1, "short", 1.5, 0.01, 10_000), replace(trial(2, "failed", 1.0, 0.0, 0, 1), attempted="full")
    unfinished = replace(failed, decision=INT8)
    assert trained(SHORT, other, failed).gone_on_with() == {1}
    assert trained(SHORT, other, unfinished).gone_on_with() == set(), "that finishers fail says nothing of the training"
    assert trained(SHORT, FULL).gone_on_with() == {0}


def test_a_trained_structure_is_as_fast_as_the_candidate_it_began_as_with_its_finishers() -> None:
    again = trial(2, "full", 1.8, 0.007, 200_000, 1)
    assert trained(SHORT, FULL, again).forecast_gain(again) == SHORT.gain
