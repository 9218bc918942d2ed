"""What is left of the budget is shared out to the rounds to come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from resnet44 import explored, rounds, trial

from whet.core.run import Budget
from whet.core.space import Decision
from whet.schedule.plan import Plan
from whet.schedule.shares import LEAST_SECONDS


def test_where_little_time_is_left_there_is_one_round_rather_than_none() -> None:
    stage, _ = rounds(explored(), seconds=1200.0)
    assert stage.shares.rounds(4) == 4 and stage.shares.rounds(-1) == 0
    stage, _ = rounds(explored(), seconds=16.0)
    assert stage.shares.each(2) < 2.0 < stage.shares.each(1) and stage.shares.rounds(4) == 1


def test_where_the_data_are_soon_gone_through_there_are_more_rounds() -> None:
    """The MLP of `protein` sees its 41,000 samples in two seconds: three minutes give five structures eight epochs."""
    stage, _ = rounds(explored(), seconds=180.0)
    few = Plan().rounds(180.0, stage.shares.epochs_left())
    facts: Any = stage.situation.facts
    facts.speed, facts.epoch_samples = 20_000.0, 41_000
    assert (few, Plan().rounds(180.0, stage.shares.epochs_left())) == (2, 5)
    facts.epoch_samples = 0
    assert stage.shares.epochs_left() == 0.0


@pytest.mark.parametrize("n", [2, 3, 5])
def test_all_rounds_their_files_and_the_finishing_take_what_is_left(n: int) -> None:
    untouched = replace(trial(4, "full", 1.3, 0.004, 0), decision=Decision({"network:int8": "all"}))
    stage, _ = rounds([*explored(), untouched], 900.0, finishers=True, file_seconds=3.0)
    clock, shares = stage.situation.clock, stage.shares
    files = (n + 1) * clock.file_seconds  # one more in its finished form
    trained = shares.each(n) * (n + shares.portion.settling)
    assert trained + files == pytest.approx(clock.left_seconds, abs=0.1) and shares.portion.settling == 0.25


def test_the_last_round_gives_up_its_finished_file_rather_than_its_training() -> None:
    untouched = replace(trial(4, "full", 1.3, 0.004, 0), decision=Decision({"network:int8": "all"}))
    stage, _ = rounds([*explored(), untouched], 900.0, finishers=True, file_seconds=3.0)
    clock = stage.situation.clock
    clock.budget = Budget(900.0, spent_before=900.0 - clock.reserve_seconds() - 2 * clock.file_seconds - 1.0)
    left = clock.left_after(1)
    assert left == pytest.approx(1.0 + clock.file_seconds, abs=0.1)
    assert stage.shares.each(1) == pytest.approx(left, abs=0.1) and left > LEAST_SECONDS > stage.shares.each(2)
    assert [stage.shares.rounds(planned) for planned in (3, 1, 0)] == [1, 1, 0]


def test_with_care_files_take_as_long_as_ever_and_a_round_never_gives_up_its_finished_form() -> None:
    untouched = replace(trial(4, "full", 1.3, 0.004, 0), decision=Decision({"network:int8": "all"}))
    stage, _ = rounds([*explored(), untouched], 900.0, finishers=True, file_seconds=3.0)
    clock, careful = stage.situation.clock, replace(stage.shares, careful=True)
    longest = {"save": 0.1, "race": 6.0, "evaluate": 5.9}
    clock.costs.longest = lambda what, otherwise: longest[what]  # type: ignore[method-assign]
    assert clock.longest_file_seconds == 12.0 == clock.file_seconds + 3.0
    less = (2 * 3.0 + 12.0) / (1 + stage.shares.portion.settling)
    assert stage.shares.each(1) - careful.each(1) == pytest.approx(less, abs=0.1), "two files, and about the training"
    clock.budget = Budget(900.0, spent_before=900.0 - clock.reserve_seconds() - 3 * 12.0 - 1.0)
    assert careful.each(1) < LEAST_SECONDS < stage.shares.each(1)
