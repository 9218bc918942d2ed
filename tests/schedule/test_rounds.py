"""What the rounds train next, on the figures of a search on ResNet-44."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from resnet44 import explored, rounds, told, trial
from situations import asked, drive

from whet.core.space import Decision, Space
from whet.core.study import Trial
from whet.schedule import rounds as rounds_module
from whet.schedule.actions import Action, Train, Try


def test_the_first_structure_within_the_limit_is_finished_at_once_later_ones_at_the_end() -> None:
    first = trial(2, "full", 1.9, 0.008, 150_000, parent=1)
    finished = replace(trial(3, "full", 2.4, 0.009, 170_000, parent=2), decision=Decision({"network:int8": "all"}))
    second = trial(4, "full", 2.2, 0.0095, 300_000, parent=3)
    faster = replace(trial(3, "short", 2.9, 0.02, 160_000, parent=2))

    def due(left: int, *trials: Trial) -> int | None:
        stage, _ = rounds([*explored()[:2], *trials])
        stage.situation.finishing.any = True
        found = stage.due(left, 20.0)
        return None if found is None else found.number

    assert due(3, first) == 2
    assert due(3, first, finished) is None and due(0, first, finished) is None
    assert due(3, first, faster, second) == 4
    assert due(0, first, faster, second) == 4
    assert due(0, first, faster, replace(second, drop=0.016)) == 2


def test_where_only_int8_is_searched_it_is_trained_however_fast_the_original_was_measured() -> None:
    """On the MLP of `protein` the original, trained on, was measured at x1.14 of itself: noise of two threads."""
    untouched = replace(trial(0, "full", 1.2, 0.034, 0), decision=Decision({"network:int8": "all"}))
    trained = replace(trial(1, "full", 1.14, -0.007, 12_000_000, -1), decision=Decision())
    stage, _ = rounds([untouched, trained], space=Space())
    stage.situation.finishing.any = True
    assert stage.due(0, 300.0) == trained


@pytest.mark.parametrize("drop, trainings", [(0.0098, 0), (0.0103, 1)])
def test_int8_that_costs_nothing_is_trained_on_only_where_it_misses_the_limit(drop: float, trainings: int) -> None:
    int8 = Decision({"network:int8": "all"})
    trials = [replace(trial(0, "full", 1.3, 0.0, 0), decision=int8), trial(1, "full", 2.0, 0.0095, 100_000)]
    stage, _ = rounds(trials, finishers=True)
    found = replace(trial(2, "full", 2.6, drop, 100_000, 1), decision=trials[1].decision.merge(int8))
    seen: list[Any] = asked(stage.finish(trials[1], 30.0), found)
    assert [a.finishing for a in seen] == [int8] * (1 + trainings)
    assert [a.seconds for a in seen] == [None, *[30.0] * trainings]


def test_fewer_rounds_are_longer_where_only_long_training_mends() -> None:
    # One candidate, which 300 s of 1,200 samples a second bring to the limit and 60 s do not.
    dear, _ = rounds([trial(0, "short", 3.0, 0.04, 15_000)])
    assert dear.most_promising(5) == 2, "the first training never has all the time"
    before = trial(1, "short", 1.2, 0.004, 15_000)
    dear, _ = rounds([trial(0, "short", 3.0, 0.04, 15_000), before, trial(2, "full", 1.2, 0.001, 150_000, parent=1)])
    assert dear.most_promising(5) == 1
    # Two that end within it however short they are trained.
    sure, _ = rounds([trial(0, "short", 1.5, 0.004, 15_000), trial(1, "short", 1.6, 0.02, 15_000)])
    assert sure.most_promising(5) == 5


@pytest.mark.parametrize(
    ("stage", "samples", "rate"),
    [
        ("short", 13_000, 1.0), ("short", 59_000, 1.0), ("short", 61_000, 0.3), ("short", 263_000, 0.3),
        ("full", 59_000, 1.0), ("full", 263_000, 0.1),
    ],
)  # fmt: skip
def test_what_is_settled_is_trained_on_at_a_gentle_rate(stage: Any, samples: int, rate: float) -> None:
    """A hundred seconds of training are 120 thousand samples here."""
    candidate = replace(explored()[0], stage=stage, samples=samples)
    [action] = asked(rounds([candidate])[0].train([candidate], 100.0))
    assert action == Train(candidate, 100.0, None, rate, settled=rate < 1.0)


def test_time_that_is_left_after_the_planned_rounds_is_used_if_a_candidate_promises_something() -> None:
    trained = [trial(4, "full", 2.48, 0.0095, 150_000, parent=1), trial(5, "full", 2.81, 0.013, 150_000, parent=3)]
    stage, _ = rounds([*explored(), *trained], seconds=300.0)
    assert stage.goes_on()  # 2.81 is a third beyond the limit, and has been trained for half of what is left
    stage.situation.clock.budget.spent_before = 270.0
    assert not stage.goes_on(), "too little is left"
    stage, _ = rounds([*explored(), trained[0], replace(trained[1], drop=0.2)], seconds=300.0)
    assert not stage.goes_on(), "nothing promises to come within the limit"


def test_what_is_told_to_be_beyond_mending_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _ = rounds(explored())
    monkeypatch.setattr(rounds_module, "told", lambda s: [told(4, 3.5, 0.04), told(5, 4.5, 0.1), told(6, 6.0, 0.5)])
    assert [t.number for t in stage.told()] == [4, 5], "all of the time may mend what a share of it does not"
    stage.situation.clock.budget.spent_before = 1100.0
    assert [t.number for t in stage.told()] == [4], "as much as the rounds are planned to mend is always looked at"


def test_what_was_only_told_of_is_looked_at_before_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder's cut that was forecast at x7.7 and a drop of 6 % was x2.2 and 19 %: a minute went into it."""
    hoped = told(4, 4.5, 0.012)
    for trials, first in ([hoped], Try), ([trial(4, "short", 4.5, 0.012, 4_500)], Train):
        stage, _ = rounds([*explored(), *trials], repairs=True)
        stage.planned = 2
        monkeypatch.setattr(rounds_module, "told", lambda s: [hoped])
        action: Any = next(stage._one_step())
        assert isinstance(action, first)
    assert action.candidate == trials[0]


@pytest.mark.parametrize(("drop", "trained"), [(0.015, [1]), (0.2, [])])
def test_where_training_is_slow_what_is_left_goes_to_one_training_that_promises_something(
    drop: float, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ResNet-20's three minutes 60 seconds were left over, as nothing more was within the limit untrained."""
    verified = replace(trial(0, "full", 1.2, 0.004, 0), decision=Decision({"block1:keep": False}))
    trials = [verified, trial(1, "short", 2.0, drop, 0)]
    stage, explorer = rounds(trials, seconds=180.0, repairs=True, speed=0.0)
    explorer.mending.slow = True
    explorer.one_more = lambda until, most=0: iter(())  # type: ignore[method-assign, assignment, misc, return-value]
    monkeypatch.setattr(type(stage.situation.facts), "original_samples_per_second", lambda self: 400.0)
    trainings = []

    def do(action: Action) -> None:
        if isinstance(action, Train):
            trainings.append(action)
            trials.append(trial(len(trials), "full", 2.0, 0.009, 30_000, parent=action.candidate.number))

    drive(stage.run(), do)
    assert [a.candidate.number for a in trainings] == trained
    assert all(a.seconds > 100 for a in trainings), "all of what is left"
    assert stage.planned == 1 and stage.shares.careful, "what is trained must be finished as well"
