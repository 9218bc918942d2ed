"""What the log answers: what was explored, what is best, and how long a candidate counts as trained."""

from __future__ import annotations

from dataclasses import replace

from resnet44 import SPACE, explored, rounds, trial
from situations import situation

from whet.core.objectives import Figures, Objectives
from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.goal import Goal
from whet.schedule.history import IN_A_ROW, REPAIRED_SAMPLES, UNMET, History
from whet.schedule.recovery import mixed_samples

BOTH = Decision({"block0:keep": False, "block1:keep": False})
INT8 = Decision({"network:int8": "all"})


def test_what_is_gone_on_with_as_it_was_adds_its_samples() -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.012, 150_000, 1), trial(3, "full", 2.3, 0.008, 300_000, 2)]
    history = rounds(trials)[0].situation.history
    assert history.fresh_samples(trials[3]) == history.fresh_samples(replace(trials[3], drop=0.02)) == 300_000


def of(trials: list[Trial], goal: Goal | None = None, repairs: bool = False) -> History:
    return situation(trials, SPACE, goal or Goal(0.01), repairs=repairs).history


def test_a_repair_is_worth_samples_and_what_extends_a_structure_begins_anew_with_its_own_damage() -> None:
    begun, on = trial(0, "short", 2.0, 0.03, 10_000), trial(1, "full", 2.0, 0.01, 160_000, 0)
    wider = replace(trial(2, "short", 2.5, 0.04, 170_000, 1), decision=BOTH)
    found = of([begun, on, wider])
    assert found.fresh_samples(begun) == 10_000 and found.own_samples(wider) == 10_000
    assert found.fresh_samples(wider) == mixed_samples([(0.01, 170_000), (0.03, 10_000)])
    assert of([begun], repairs=True).fresh_samples(begun) == 10_000 + REPAIRED_SAMPLES


def test_the_original_has_no_trial_that_it_continues() -> None:
    identity = trial(0, "full", 1.0, 0.0, 5_000, parent=-1)
    assert of([identity]).parent(identity) is None and of([identity]).own_samples(identity) == 5_000


def test_candidates_fail_in_a_row_before_the_search_gives_up() -> None:
    failed = [replace(trial(i, "failed", 1.0, 0.0, 0), attempted="short") for i in range(IN_A_ROW)]
    assert of(failed).hopeless() and not of(failed[1:]).hopeless()
    assert not of([*failed[1:], trial(6, "short", 1.5, 0.0, 0)]).hopeless()
    assert of(failed).failures("short") == failed and not of(failed).failures("full")


def test_what_is_best_is_verified_and_within_the_limit() -> None:
    seen = [trial(0, "short", 3.0, 0.0, 10), trial(1, "full", 2.5, 0.011, 10, 0), trial(2, "full", 1.5, 0.01, 10, 0)]
    assert of(seen).best_gain() == 1.5 and of(seen[:2]).best_gain() == 1.0
    assert of(seen[:2], Goal(0.01, Objectives(least_speedup=1.2))).best_gain() == UNMET


def test_a_front_is_within_the_limits_and_nothing_on_it_is_beaten() -> None:
    figures = [(2.0, 0.004), (1.5, 0.005), (1.2, 0.001), (3.0, 0.02)]
    seen = [trial(i, "full", gain, drop, 10) for i, (gain, drop) in enumerate(figures)]
    assert of(seen).front_of(seen) == [seen[0], seen[2]]


def test_what_was_explored_is_told_from_finishers_and_from_trainings_in_earnest() -> None:
    cut, int8 = trial(0, "full", 2.0, 0.0, 0), replace(trial(1, "full", 1.5, 0.0, 0), decision=INT8)
    earnest, short = trial(2, "full", 2.0, 0.0, 50, 0), trial(3, "short", 2.0, 0.0, 10)
    both = replace(trial(4, "full", 2.5, 0.0, 0), decision=cut.decision.merge(INT8))
    begun_whole = trial(5, "full", 2.0, 0.0, 50)
    found = of([cut, int8, earnest, short, both, begun_whole])
    assert found.explored() == [cut, short, both], "in the order they were made"
    assert found.untouched() == [int8]
    assert found.structural(both.decision) == cut.decision and not found.structural(INT8)
    assert [found.is_finished(t) for t in (cut, int8, both)] == [False, True, True]
    assert not found.is_structural(int8) and found.is_structural(replace(int8, samples=1))


def test_a_repair_is_worth_fewer_samples_where_each_has_many_predictions() -> None:
    """A decoder mends as much with 90 windows of 128 characters as a classifier with thousands of pictures."""
    study = of([]).study
    windows = [History(study, SPACE, Goal(0.01), True, Figures(1.0, 1), n).head_start for n in (1, 128, 10_000)]
    assert windows == [REPAIRED_SAMPLES, REPAIRED_SAMPLES // 128, 1]
    assert History(study, SPACE, Goal(0.01), False, Figures(1.0, 1), 128).head_start == 0
