"""What training in earnest is expected to mend, and when it is too slow for that."""

from __future__ import annotations

import math
from typing import Any

import pytest
from situations import situation

from whet.core.space import Space
from whet.schedule.goal import Goal
from whet.schedule.history import REPAIRED_SAMPLES
from whet.schedule.mending import ROUNDS_SHARE, SLOW, Mending
from whet.schedule.recovery import Recovery


def mending(seconds: float = 1000.0, **facts: Any) -> Mending:
    """Return what is expected of an original that is trained on 10,000 samples a second, in four rounds."""
    return Mending(situation([], Space(), Goal(0.01, budget_seconds=seconds), **facts))


def test_a_round_has_its_part_of_the_rounds_share_at_the_original_s_speed() -> None:
    assert mending().trainable() == pytest.approx(ROUNDS_SHARE * 1000.0 / 4 * 1e4)
    fewer = mending()
    fewer.share = 0.5
    assert fewer.rounds_seconds == 500.0 and fewer.trainable() == pytest.approx(ROUNDS_SHARE * 1000.0 / 2 * 1e4)


def test_what_is_mendable_ends_just_within_the_limit() -> None:
    found = mending(repairs=True)
    expected = Recovery.of(0.01).expected(found.mendable(0.01), REPAIRED_SAMPLES, found.trainable())
    assert expected == pytest.approx(0.009)


def test_without_data_nothing_is_trainable_and_in_epochs_there_is_no_end() -> None:
    assert mending(trains=False).trainable() == 0.0 and mending(trains=False, repairs=True).slow
    assert mending(math.inf).trainable() == mending(math.inf).mendable(0.01) == math.inf


def test_training_is_slow_below_so_many_repairs_worth_unless_the_data_are_few() -> None:
    edge = SLOW * REPAIRED_SAMPLES * 2 / ROUNDS_SHARE / 1e4  # seconds; the shortest budgets have two rounds
    assert mending(0.99 * edge, repairs=True).slow and not mending(1.01 * edge, repairs=True).slow
    assert not mending(0.99 * edge, repairs=True, epoch_samples=1000).slow
    assert not mending(0.99 * edge).slow, "what is not repaired has to be trained"
