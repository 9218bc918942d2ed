"""One at a time, a queue that tells its length, and an end to it."""

from __future__ import annotations

import threading
import time

import pytest

from whet.device.turns import Busy, Turns


def test_two_never_work_at_once_and_all_come_to_their_turn() -> None:
    turns, inside, most = Turns(8), 0, 0

    def work() -> None:
        nonlocal inside, most
        with turns.turn():
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and (turns.working, turns.waiting) == (False, 0)


@pytest.mark.parametrize("most", [0, 2])
def test_so_many_wait_and_the_next_is_sent_away(most: int) -> None:
    turns, done = Turns(most), []

    def wait() -> None:
        with turns.turn():
            done.append(1)

    with turns.turn():
        threads = [threading.Thread(target=wait) for _ in range(most)]
        for thread in threads:
            thread.start()
        while turns.waiting < most:
            time.sleep(0.001)
        with pytest.raises(Busy, match=f"and {most} wait already"), turns.turn():
            pass
        assert turns.waiting == most and not done
    for thread in threads:
        thread.join()
    assert len(done) == most
    with turns.turn():
        assert turns.working


def test_a_turn_that_fails_is_given_back() -> None:
    turns = Turns(0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn():
            _ = 1 / 0
    assert not turns.working
