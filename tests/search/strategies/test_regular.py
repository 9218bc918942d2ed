"""Regular networks: what is one, how far they are trusted, and that they are proposed as often as they are trusted."""

from __future__ import annotations

import numpy as np
import pytest
from engines import NETWORK, beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.regular import ATTEMPTS, Regular
from whet.testing.strategies import SPACES, WIDTHS, check

LAYERS = Space([Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(6)])


def drawn(strategy: Regular, rounds: int = 200) -> np.ndarray:
    return np.array([strategy.regular(np.random.default_rng(seed)) for seed in range(rounds)])


def test_a_regular_decision_lies_on_one_quantized_line() -> None:
    strategy = Regular(LAYERS, 0)
    rows = drawn(strategy)
    steps = np.diff(rows, axis=1)
    assert ((steps >= 0).all(1) | (steps <= 0).all(1)).all()
    assert (steps > 0).any() and (steps < 0).any() and {0, 3} <= set(rows[:, 0]) and {0, 3} <= set(rows[:, -1])
    assert all(strategy.is_regular(row) for row in rows)
    assert strategy.is_regular(np.array([0, 0, 1, 2, 3, 3])) and strategy.is_regular(np.array([3, 2, 2, 1, 1, 0]))
    for row in ([0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 3], [3, 0, 3, 0, 3, 0], [0, 3, 3, 3, 3, 3]):
        assert not strategy.is_regular(np.array(row))


def test_other_choices_agree_along_a_stretch() -> None:
    space = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(8)])
    changed = [np.flatnonzero(row != 0) for row in drawn(Regular(space, 0))]
    assert all(np.array_equal(places, np.arange(places[0], places[-1] + 1)) for places in changed if len(places))
    assert 0 in map(len, changed) and max(map(len, changed)) >= 6
    assert {places[0] for places in changed if len(places)} >= {0, 3, 6}


def told(regular_is_better: bool, each: int = 12) -> Regular:
    """Return a strategy that measured as many regular networks as irregular ones, all of one kind better."""
    strategy = Regular(LAYERS, 0, ("minimize",))
    rows = strategy.genes.random(400, np.random.default_rng(1))
    for regular in (True, False):
        own = [row for row in (drawn(strategy, 40) if regular else rows) if strategy.is_regular(row) == regular]
        for index, decision in enumerate(list(dict.fromkeys(map(strategy.genes.decision, own)))[:each]):
            error = index + (100.0 if regular != regular_is_better else 0.0)
            strategy.tell([Observation(decision, (error,))])
    return strategy


def test_the_trust_is_the_chance_that_the_regular_network_is_the_better_one() -> None:
    assert told(True).trust() == 1.0 and told(False).trust() == 0.0
    assert Regular(LAYERS, 0).trust() == 0.5
    mixed = told(True)
    worst = next(d for d in map(mixed.genes.decision, drawn(mixed)) if d not in mixed.ledger.entries)
    mixed.tell([Observation(worst, (1000.0,))])
    assert mixed.trust() == pytest.approx(12 / 13)


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_regular_networks_are_proposed_as_often_as_they_are_trusted(
    trust: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Regular, "trust", lambda self: trust)
    begun = []
    for seed in range(120):
        strategy = Regular(LAYERS, seed)
        candidates = [strategy.genes.rows([d])[0] for d in strategy.candidates()]
        begun.append(len(candidates) == 2 * ATTEMPTS)
        if begun[-1]:
            assert all(strategy.is_regular(row) for row in candidates[:ATTEMPTS])
        assert not all(strategy.is_regular(row) for row in candidates[-ATTEMPTS:])
    assert np.mean(begun) == pytest.approx(trust, abs=0.15)


def test_what_is_better_is_proposed_the_more_often() -> None:
    def share(better: bool) -> float:
        strategy = told(better)
        return float(np.mean([strategy.is_regular(strategy.genes.rows([d])[0]) for d in strategy.ask(30)]))

    assert share(True) > 0.9 and share(False) < 0.4


def test_decisions_without_ordered_choices_are_regular() -> None:
    space = Space([Choice("a:keep", (True, False), True)])
    assert Regular(space, 0).is_regular(np.array([1]))
    assert Regular(NETWORK, 0).is_regular(Regular(NETWORK, 0).genes.rows([Decision()])[0])


def test_conforms() -> None:
    assert check(lambda space, seed: strategies.get("regular", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("regular")
