"""Which candidate promises most, on the figures of a search on ResNet-44."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from resnet44 import SPACE, explored, rounds, told, trial
from situations import situation

from whet.core.space import Choice, Decision, Space
from whet.schedule.goal import Goal
from whet.schedule.prospects import Prospects


def test_the_candidate_that_promises_most_is_trained_first() -> None:
    chosen, gain = rounds(explored())[0].prospects.choose(100.0)
    assert chosen is not None and chosen.speedup == 2.48
    assert 0.3 < gain < 1.48


def test_with_little_time_a_safer_candidate_is_taken() -> None:
    chosen, _ = rounds(explored())[0].prospects.choose(5.0)
    assert chosen is not None and chosen.speedup == 1.75


def test_a_structure_whose_int8_form_missed_the_limit_is_gone_on_with() -> None:
    trials = explored()[:2]
    trials.append(trial(2, "full", 1.9, 0.004, 150_000, parent=1))
    finished = replace(trial(3, "full", 2.48, 0.011, 170_000, parent=2), decision=Decision({"network:int8": "all"}))
    chosen, gain = rounds([*trials, finished])[0].prospects.choose(100.0)
    assert chosen is not None and chosen.number == 2 and gain > 0.1
    met = replace(finished, drop=0.008)
    chosen, gain = rounds([*trials, met])[0].prospects.choose(100.0)
    assert chosen is None or chosen.number == 0


def test_a_narrower_network_is_expected_to_gain_less_from_more_training_in_earnest() -> None:
    """The figures of a search on ResNet-20, which went on twice with what more training did not mend."""
    narrow = Decision({"block0:keep": False, "group:width": 0.75})
    begun = replace(trial(0, "short", 2.01, 0.0392, 20_992), decision=narrow)
    missed = replace(trial(1, "full", 1.73, 0.0142, 351_104, 0), decision=narrow)
    other = trial(2, "full", 1.73, 0.0142, 351_104, 3)
    space = Space([*SPACE, Choice("group:width", (0.75, 1.0), 1.0, lasting=3.0)])
    stage, _ = rounds([begun, missed, other, trial(3, "short", 2.01, 0.0392, 20_992)], space=space)
    lasting, mended = stage.prospects.left(missed, 100.0), stage.prospects.left(other, 100.0)
    assert mended < 0.012 < lasting < 0.0142
    worth = stage.prospects.worth([missed, other], 0.01, 100.0, 1.5)
    assert worth[1] < 0.7 * worth[2]


def test_an_unfinished_structure_within_the_limit_counts_with_its_int8_speed() -> None:
    trials = [*explored()[:2], trial(2, "full", 1.9, 0.008, 150_000, parent=1)]
    stage, _ = rounds(trials)
    assert stage.prospects.promised_gain() == 1.9
    stage.situation.finishing.any = True
    assert stage.prospects.promised_gain() == 2.48


def test_one_that_is_only_told_of_is_trained_if_it_promises_more() -> None:
    stage, _ = rounds(explored())
    chosen, worth = stage.prospects.choose(100.0, [told(4, 3.5, 0.011)])
    assert chosen is not None and chosen.number == 4 and worth > stage.prospects.choose(100.0)[1]
    chosen, _ = stage.prospects.choose(100.0, [told(4, 3.5, 0.5)])
    assert chosen is not None and chosen.number == 1


def test_without_a_limit_the_candidate_of_the_largest_merit_is_trained() -> None:
    given = situation(explored(), SPACE, Goal(budget_seconds=1200.0))
    assert Prospects(given).choose(100.0) == (given.study.trials[1], math.inf)


def test_where_there_is_nothing_to_cut_the_network_itself_is_trained_on() -> None:
    chosen, _ = Prospects(situation([], Space(), Goal())).choose(100.0)
    assert chosen is not None and (chosen.number, chosen.decision, chosen.quality) == (-1, Decision(), 0.9)


def test_where_none_promises_anything_the_one_nearest_to_the_limit_is_taken() -> None:
    far, nearer = trial(0, "short", 3.0, 0.9, 10_000), trial(1, "short", 2.0, 0.8, 10_000)
    prospects = rounds([far, nearer])[0].prospects
    prospects.worth = lambda trials, *more: {t.number: 0.0 for t in trials}  # type: ignore[method-assign]
    assert prospects.choose(100.0) == (nearer, 0.0)


def test_the_structure_to_extend_is_the_fastest_of_those_within_the_limit_in_both_forms() -> None:
    slow, fast = trial(2, "full", 1.7, 0.008, 150_000, 0), trial(3, "full", 2.4, 0.008, 150_000, 1)
    assert rounds([*explored()[:2], slow, fast])[0].prospects.base() == fast
    int8 = replace(trial(4, "full", 2.6, 0.02, 150_000, 3), decision=Decision({"network:int8": "all"}))
    assert rounds([*explored()[:2], slow, fast, int8])[0].prospects.base() == slow


def test_several_trainings_are_expected_to_gain_no_less_than_the_best_of_them() -> None:
    prospects = rounds(explored())[0].prospects
    gains = [prospects.best_of_rounds(n, 100.0, []) for n in (1, 2, 4)]
    assert gains == sorted(gains) and gains[0] == pytest.approx(prospects.choose(100.0)[1])
    assert gains[0] < gains[2] < max(t.gain for t in explored()) - 1
