"""What is left of the budget is shared out to the rounds to come."""

from __future__ import annotations

from typing import Any

from resnet44 import explored, rounds

from whet.schedule.plan import Plan


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
