"""Costly candidates exit early: they are drawn again, before and after the warm-up, unless there are no others."""

from __future__ import annotations

import pytest
from engines import NETWORK, beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.early_exit import EarlyExitEvolution
from whet.testing.strategies import SPACES, check

BLOCKS = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(4)])


def test_the_share_that_is_left_falls_with_what_is_cut() -> None:
    strategy = EarlyExitEvolution(BLOCKS)
    shares = [strategy.share_left(Decision({f"b{i}:keep": False for i in range(gone)})) for gone in range(5)]
    assert shares == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_nothing_costly_is_measured_while_there_are_cheap_candidates() -> None:
    strategy = EarlyExitEvolution(NETWORK, 0, limit=0.5)
    for _ in range(40):
        (decision,) = strategy.ask()
        assert strategy.share_left(decision) <= 0.5
        strategy.tell([Observation(decision, (1.0 + len(decision), 0.01 * len(decision)))])


def test_it_takes_the_cost_that_it_is_given() -> None:
    strategy = EarlyExitEvolution(NETWORK, 0, cost=lambda d: float("block0:keep" not in d), limit=0.0)
    assert all("block0:keep" in d for d in strategy.ask(10))


def test_children_are_of_the_best_parents() -> None:
    """Cutting anything but the first layer is bad: evolution stays with the parents that cut that one alone."""
    strategy = EarlyExitEvolution(NETWORK, 0, limit=1.0)
    late = []
    for index in range(60):
        (decision,) = strategy.ask()
        others = sum(name != "layer0:width" for name in decision)
        strategy.tell([Observation(decision, (1.0, float(others)))])
        late += [others] if index >= 30 else []
    assert sum(late) / len(late) < 7  # 8.7 by chance


def test_where_all_are_costly_one_is_measured_all_the_same() -> None:
    assert len(EarlyExitEvolution(BLOCKS, 0, limit=-1.0).ask(16)) == 16


def test_conforms() -> None:
    assert check(lambda space, seed: strategies.get("early-exit", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("early-exit")
