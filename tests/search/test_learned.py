"""A learner is a function of the ledger: lessons in order, and again from where an entry changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point
from whet.search.learned import KEPT, Learned

SPACE = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(6)])


class Pupil(Learned):
    """A learner that writes down its lessons."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lessons = 0

    def begin(self) -> list[Any]:
        return []

    def lesson(self, learner: list[Any], index: int) -> None:
        self.lessons += 1
        learner.append(list(self.ledger.entries.items())[index])

    def drawn(self, learner: list[Any], index: int) -> Any:
        return self.genes.random(3, np.random.default_rng(index))


def told(strategy: Learned, places: range, speed: float = 1.0) -> None:
    strategy.tell(Observation(point(SPACE, rank), (speed + rank, 0.1)) for rank in places)


def test_there_is_a_lesson_an_entry_and_each_is_had_once() -> None:
    strategy = Pupil(SPACE)
    told(strategy, range(5))
    assert strategy.taught() == list(strategy.ledger.entries.items()) and strategy.lessons == 5
    told(strategy, range(5, 7))
    assert strategy.taught() == list(strategy.ledger.entries.items()) and strategy.lessons == 7


@pytest.mark.parametrize("changed, again", [(38, 2), (30, 10), (40 - KEPT, 40), (3, 40)])
def test_lessons_from_what_changed_on_are_had_again(changed: int, again: int) -> None:
    strategy = Pupil(SPACE)
    told(strategy, range(40))
    strategy.taught()
    told(strategy, range(changed, changed + 1), speed=9.0)
    before = strategy.lessons
    assert strategy.taught() == list(strategy.ledger.entries.items())
    assert strategy.lessons - before == again


def test_a_ledger_that_became_shorter_is_learned_anew() -> None:
    strategy = Pupil(SPACE)
    told(strategy, range(6))
    strategy.taught()
    strategy.ledger.entries = dict(list(strategy.ledger.entries.items())[:4])
    assert strategy.taught() == list(strategy.ledger.entries.items())


def test_the_first_new_draw_is_proposed_and_else_one_near_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = Pupil(SPACE)
    told(strategy, range(1, 9))
    monkeypatch.setattr(Pupil, "drawn", lambda self, learner, index: self.genes.rows([point(SPACE, 2), Decision()]))
    assert strategy.propose() == Decision(), "the untouched network is a decision like others"
    rows = strategy.genes.rows([point(SPACE, rank) for rank in (3, 20, 30)])
    monkeypatch.setattr(Pupil, "drawn", lambda self, learner, index: rows)
    assert strategy.propose() == point(SPACE, 20)
    told(strategy, range(20, 21))
    told(strategy, range(30, 31))
    near = strategy.propose()
    first = point(SPACE, 3)
    assert near not in strategy.ledger.entries
    assert sum(near.of(choice) != first.of(choice) for choice in SPACE) == 1


def test_a_reward_is_the_standing_among_those_before() -> None:
    strategy = Pupil(SPACE)
    told(strategy, range(3))
    strategy.tell([Observation(point(SPACE, 9)), Observation(point(SPACE, 10), (0.5, 0.2))])
    assert list(strategy.earned().values()) == [0.5, 1.0, 1.0, 0.0]
    assert Pupil(SPACE).earned() == {} and point(SPACE, 9) not in strategy.earned()
