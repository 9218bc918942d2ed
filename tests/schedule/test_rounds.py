"""What the rounds train next, on the figures of a search on ResNet-44."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from situations import asked, drive, situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule import rounds as rounds_module
from whet.schedule import untrained
from whet.schedule.actions import Actions, Train
from whet.schedule.goal import Goal
from whet.schedule.growth import GROWN, MORE
from whet.schedule.plan import Plan
from whet.schedule.rounds import Rounds
from whet.schedule.untrained import chance

SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(6)])
EXPLORED = [(1.75, 0.0136, 10_240), (2.48, 0.0258, 14_592), (4.59, 0.2056, 17_920), (2.81, 0.0468, 13_568)]


class Explorer:
    """Stands in for the exploration: says what it was aimed at and adds a candidate each time."""

    def __init__(self, trials: list[Trial], budget_seconds: float) -> None:
        self.trials, self.aimed, self.base, self.speedup = trials, 0.0, Decision(), 1.5
        self.mending = SimpleNamespace(slow=False, mendable=lambda limit: 5 * limit, rounds_seconds=budget_seconds)
        self.pace = SimpleNamespace(short_seconds=lambda: 14.0)

    def aim(self, drop: float, base: Decision | None = None) -> bool:
        self.aimed, self.base = drop, base or Decision()
        return True

    def one_more(self, until: float) -> Actions[bool]:
        yield from ()
        if until < 0:
            return False
        number = len(self.trials)
        found = trial(number, "short", self.speedup, self.aimed, 12_000)
        if self.base:
            parent = next(t for t in reversed(self.trials) if t.decision == self.base and t.stage == "full")
            wider = Decision({**self.base, f"block{number % 6}:keep": False})
            found = replace(found, decision=wider, parent=parent.number, samples=parent.samples + 12_000)
        self.trials.append(found)
        return True


def trial(number: int, stage: Any, speedup: float, drop: float, samples: int, parent: int | None = None) -> Trial:
    return Trial(
        number, stage, Decision({"block0:keep": False}), quality=0.9 - drop, drop=drop, speedup=speedup,
        samples=samples, parent=parent,
    )  # fmt: skip


def rounds(
    trials: list[Trial], seconds: float = 1200.0, space: Space = SPACE, finishers: bool = False, **more: Any
) -> tuple[Rounds, Explorer]:
    given = situation(trials, space, Goal(0.01, budget_seconds=seconds), finishers=finishers, **more)
    explorer: Any = Explorer(trials, seconds)
    return Rounds(given, explorer), explorer


def explored() -> list[Trial]:
    return [trial(i, "short", *figures) for i, figures in enumerate(EXPLORED)]


def test_the_candidate_that_promises_most_is_trained_first() -> None:
    chosen, gain = rounds(explored())[0].prospects.choose(100.0)
    assert chosen is not None and chosen.speedup == 2.48
    assert 0.3 < gain < 1.48


def test_with_little_time_a_safer_candidate_is_taken() -> None:
    chosen, _ = rounds(explored())[0].prospects.choose(5.0)
    assert chosen is not None and chosen.speedup == 1.75


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
    assert 0.012 < lasting < 0.0142 and mended < 0.0115
    worth = stage.prospects.worth([missed, other], 0.01, 100.0, 1.5)
    assert worth[1] < 0.7 * worth[2]


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


def test_an_unfinished_structure_within_the_limit_counts_with_its_int8_speed() -> None:
    trials = [*explored()[:2], trial(2, "full", 1.9, 0.008, 150_000, parent=1)]
    stage, _ = rounds(trials)
    assert stage.prospects.promised_gain() == 1.9
    stage.situation.finishing.any = True
    assert stage.prospects.promised_gain() == 2.48


def test_what_is_gone_on_with_as_it_was_adds_its_samples() -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.012, 150_000, 1), trial(3, "full", 2.3, 0.008, 300_000, 2)]
    assert rounds(trials)[0].situation.history.fresh_samples(trials[3]) == 300_000


def test_where_int8_costs_nothing_no_training_is_kept_back_for_it() -> None:
    """What int8 costs is seen on the untouched network, before anything is trained."""
    int8 = Decision({"network:int8": "all"})
    shares = {}
    for drop in (-0.0004, 0.004):
        untouched = replace(trial(0, "full", 1.3, drop, 0), decision=int8)
        stage, _ = rounds([untouched, *(replace(t, number=t.number + 1) for t in explored())])
        stage.situation.finishing.any = True
        shares[drop] = stage.prospects.portion.after, stage.shares.each(4)
    assert shares[-0.0004][0] == 0.0 and shares[0.004][0] == Plan().quantized_share
    assert shares[-0.0004][1] > 1.05 * shares[0.004][1]


@pytest.mark.parametrize("drop, trainings", [(0.0098, 0), (0.0103, 1)])
def test_int8_that_costs_nothing_is_trained_on_only_where_it_misses_the_limit(drop: float, trainings: int) -> None:
    int8 = Decision({"network:int8": "all"})
    trials = [replace(trial(0, "full", 1.3, 0.0, 0), decision=int8), trial(1, "full", 2.0, 0.0095, 100_000)]
    stage, _ = rounds(trials, finishers=True)
    found = replace(trial(2, "full", 2.6, drop, 100_000, 1), decision=trials[1].decision.merge(int8))
    seen: list[Any] = asked(stage.finish(trials[1], 30.0), found)
    assert [a.finishing for a in seen] == [int8] * (1 + trainings)
    assert [a.seconds for a in seen] == [None, *[30.0] * trainings]


def test_where_little_time_is_left_there_is_one_round_rather_than_none() -> None:
    stage, _ = rounds(explored(), seconds=1200.0)
    assert stage.shares.rounds(4) == 4 and stage.shares.rounds(-1) == 0
    stage, _ = rounds(explored(), seconds=16.0)
    assert stage.shares.each(2) < 2.0 < stage.shares.each(1) and stage.shares.rounds(4) == 1


def test_fewer_rounds_are_longer_where_only_long_training_mends() -> None:
    # One candidate, which 300 s of 1,200 samples a second bring to the limit and 60 s do not.
    dear, _ = rounds([trial(0, "short", 3.0, 0.04, 15_000)])
    assert dear.most_promising(5) == 1
    # Two that end within it however short they are trained.
    sure, _ = rounds([trial(0, "short", 1.5, 0.004, 15_000), trial(1, "short", 1.6, 0.02, 15_000)])
    assert sure.most_promising(5) == 5


def test_where_the_data_are_soon_gone_through_there_are_more_rounds() -> None:
    """The MLP of `protein` sees its 41,000 samples in two seconds: three minutes give five structures eight epochs."""
    stage, _ = rounds(explored(), seconds=180.0)
    few = Plan().rounds(180.0, stage.shares.epochs_left())
    facts: Any = stage.situation.facts
    facts.speed, facts.epoch_samples = 20_000.0, 41_000
    assert (few, Plan().rounds(180.0, stage.shares.epochs_left())) == (2, 5)
    facts.epoch_samples = 0
    assert stage.shares.epochs_left() == 0.0


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
    [action] = asked(rounds([candidate])[0].train(candidate, 100.0))
    assert action == Train(candidate, 100.0, None, rate, settled=rate < 1.0)


def told(number: int, speedup: float, drop: float) -> Trial:
    return trial(number, "predicted", speedup, drop, 4_500)


def test_one_that_is_only_told_of_is_trained_if_it_promises_more() -> None:
    stage, _ = rounds(explored())
    chosen, worth = stage.prospects.choose(100.0, [told(4, 3.5, 0.011)])
    assert chosen is not None and chosen.number == 4 and worth > stage.prospects.choose(100.0)[1]
    chosen, _ = stage.prospects.choose(100.0, [told(4, 3.5, 0.5)])
    assert chosen is not None and chosen.number == 1


def test_the_speed_that_was_measured_counts_and_not_the_one_that_was_told() -> None:
    stage, _ = rounds([*explored(), told(4, 3.5, 0.011), trial(5, "full", 2.0, 0.012, 150_000, parent=4)])
    assert stage.prospects.trained.forecast_gain(stage.situation.study.trials[5]) == 2.0
    assert stage.prospects.trained.forecast_gain(trial(6, "full", 2.0, 0.012, 150_000, parent=1)) == 2.48


def test_one_that_is_told_to_be_within_the_limit_is_verified_untrained_if_that_is_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, _ = rounds([trial(0, "short", 1.2, 0.004, 0)])
    for drop, expected in ((0.006, 1), (0.0101, 1), (0.02, 0), (0.05, 0)):
        monkeypatch.setattr(untrained, "told", lambda s, drop=drop: [told(1, 2.0, drop)])
        chosen = stage.untrained.fastest()
        assert chosen is not None and chosen.number == expected, drop


def test_what_an_error_tells_is_less_certain_than_what_was_scored() -> None:
    scored, hoped = trial(0, "short", 2.0, 0.008, 0), told(1, 2.0, 0.008)
    assert chance(scored, 0.01) > 0.9 > chance(hoped, 0.01) > 0.5
    assert chance(trial(0, "short", 2.0, 0.012, 0), 0.01) < 0.1 < chance(told(1, 2.0, 0.012), 0.01)


def test_time_that_is_left_after_the_planned_rounds_is_used_if_a_candidate_promises_something() -> None:
    trained = [trial(4, "full", 2.48, 0.0095, 150_000, parent=1), trial(5, "full", 2.81, 0.013, 150_000, parent=3)]
    stage, _ = rounds([*explored(), *trained], seconds=300.0)
    assert stage.goes_on()  # 2.81 is a third beyond the limit, and has been trained for half of what is left
    stage.situation.clock.budget.spent_before = 270.0
    assert not stage.goes_on(), "too little is left"
    stage, _ = rounds([*explored(), trained[0], replace(trained[1], drop=0.2)], seconds=300.0)
    assert not stage.goes_on(), "nothing promises to come within the limit"


def test_a_structure_that_training_on_did_not_mend_is_left() -> None:
    """The MLP: a quarter of everything stayed at 3% through three trainings, and a candidate of x2.9 had none."""
    first = trial(4, "full", 2.48, 0.013, 150_000, parent=1)
    for drop, stuck in ((0.0129, True), (0.0135, True), (0.0105, False)):
        later = trial(5, "full", 2.48, drop, 400_000, parent=4)
        stage, _ = rounds([*explored(), first, later])
        assert stage.prospects.trained.is_stuck(later) is stuck and not stage.prospects.trained.is_stuck(first), drop
        chosen, _ = stage.prospects.choose(1.0)
        assert chosen is not None and (chosen.number == 5) is not stuck, (drop, chosen.number)


def test_what_is_told_to_be_beyond_mending_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _ = rounds(explored())
    monkeypatch.setattr(rounds_module, "told", lambda s: [told(4, 3.5, 0.04), told(5, 4.5, 0.06)])
    assert [t.number for t in stage.told()] == [4]
