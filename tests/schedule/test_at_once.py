"""Where workers train at once: several candidates are asked for together, and none of them twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from resnet44 import explored, rounds, trial
from situations import asked, drive
from test_exploring import exploring

from whet.schedule.actions import Several, Train, Try
from whet.schedule.prospects import beside
from whet.schedule.shares import VERIFYING


def with_workers(made: Any, count: int) -> Any:
    """Give the situation of something, and of all that it holds, so many workers."""
    object.__setattr__(made.situation, "workers", lambda: count)
    return made


@pytest.mark.parametrize("workers, most, tried", [(1, 9, 1), (2, 9, 2), (9, 3, 3)])
def test_as_many_candidates_are_tried_at_once_as_there_are_workers_and_may_be(
    workers: int, most: int, tried: int
) -> None:
    explorer = with_workers(exploring([]), workers)
    seen = asked(explorer.one_more(900.0, most), [None] * tried if tried > 1 else None)
    [action] = seen
    tries = action.actions if isinstance(action, Several) else (action,)
    assert all(isinstance(each, Try) for each in tries)
    assert len({each.decision for each in tries}) == len(tries) == tried


def test_no_more_are_tried_at_once_than_are_timed_before_the_end() -> None:
    explorer = with_workers(exploring([], file_seconds=2.0), 9)
    step = 12.0 + 4.0  # a short training, and saving and timing
    assert drive(explorer.one_more(step + 4.5), lambda action: [None] * len(action.actions)) == 2


def test_those_that_promise_most_are_trained_at_once_each_once() -> None:
    for workers in (1, 2, 9):
        stage = with_workers(rounds(explored())[0], workers)
        first, _ = stage.prospects.choose(100.0)
        chosen = beside(stage.prospects, first, 100.0, [], stage.shares.at_once)
        numbers = [t.number for t in chosen]
        assert chosen[0] == first and len(set(numbers)) == len(numbers) <= workers
        assert (len(numbers) > 1) == (workers > 1)
        [action] = asked(stage.train(chosen, 100.0), [None] * len(chosen))
        trained = action.actions if isinstance(action, Several) else (action,)
        assert [each.candidate for each in trained] == chosen and all(isinstance(each, Train) for each in trained)


def test_what_promises_nothing_keeps_no_other_worker_busy() -> None:
    slow = replace(trial(1, "short", 1.0001, 0.5, 15_000))
    stage = with_workers(rounds([trial(0, "short", 2.0, 0.02, 15_000), slow])[0], 9)
    first, _ = stage.prospects.choose(100.0)
    assert beside(stage.prospects, first, 100.0, [], 9) == [first]


def test_the_files_of_what_trains_at_once_take_a_share_of_what_is_left() -> None:
    stage = with_workers(rounds(explored(), file_seconds=10.0)[0], 100)
    clock = stage.situation.clock
    assert stage.shares.at_once == int(VERIFYING * clock.left_after(0) / clock.file_seconds) < 100
    one = with_workers(rounds(explored(), file_seconds=10.0)[0], 1).shares
    two = with_workers(rounds(explored(), file_seconds=10.0)[0], 2).shares
    assert one.at_once == 1 and two.each(3) < one.each(3)
