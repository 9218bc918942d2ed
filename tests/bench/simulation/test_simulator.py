"""Searches with a made-up clock: they keep their budget, are the same from a seed, and gain by time."""

from __future__ import annotations

from statistics import median

from made_up import landscape

from whet.bench.simulation.simulator import simulate
from whet.core.space import Decision


def test_a_search_keeps_its_budget_and_is_the_same_from_the_same_seed() -> None:
    found = simulate(landscape(), 120.0, 3, "sensitivity")
    assert found == simulate(landscape(), 120.0, 3, "sensitivity")
    assert found.seconds <= 120.0 and found.drop <= 0.01 and found.trained >= 1


def test_more_time_finds_what_is_faster() -> None:
    short, long = (median(simulate(landscape(), s, n, "random").speedup for n in range(5)) for s in (40.0, 150.0))
    assert 1.0 < short < long


def test_a_limit_that_nothing_meets_leaves_the_original() -> None:
    found = simulate(landscape(), 60.0, 0, "sensitivity", max_drop=1e-9)
    assert (found.speedup, found.decision) == (1.0, Decision())
