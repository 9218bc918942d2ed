"""What a table of curves tells of decisions that are in it, and of those that are not."""

from __future__ import annotations

from itertools import product
from statistics import mean

import pytest
from made_up import SPACE, curve, curves, landscape

from whet.bench.simulation.landscape import STEEPEST, Shape
from whet.core.space import Decision


def others() -> list[Decision]:
    known = landscape().rows
    values = product(*(c.values for c in SPACE))
    found = [SPACE.canonical(Decision(dict(zip(SPACE.choices, v, strict=True)))) for v in values]
    return [d for d in found if d not in known]


def test_a_decision_of_the_table_is_what_was_recorded_whatever_the_seed() -> None:
    row = curves().rows[5]
    for seed in (0, 1):
        found = landscape().shape(row.decision, seed)
        assert (found.speedup, found.drops, found.error) == (row.speedup, row.drops, row.error)
        assert found.finished_drop(0) == pytest.approx(row.finished[0])
        assert found.finished_drop(row.samples[-1]) == pytest.approx(row.finished[1])


def test_others_are_near_what_they_are_and_differ_from_seed_to_seed() -> None:
    decisions = others()[::5]
    ratios, drops = [], []
    for decision in decisions:
        true, found = curve(decision, curves().operations(decision) / 1e7), landscape().shape(decision, 0)
        ratios.append(abs(found.speedup / true.speedup - 1))
        drops.append(abs(found.drops[-1] / true.drops[-1] - 1))
    assert mean(ratios) < 0.05 and mean(drops) < 0.15
    one, again, other = (landscape().shape(decisions[0], seed).drops for seed in (0, 0, 1))
    assert one == again != other


def test_beyond_the_last_point_a_drop_falls_no_faster_than_before_and_by_no_more_than_the_steepest_power() -> None:
    slow = Shape(1.0, 1.0, 0.0, (0, 100, 400), (0.4, 0.2, 0.18), (0.0, 0.0))
    assert slow.drop(1600) == pytest.approx(0.18 * 0.9)
    fast = Shape(1.0, 1.0, 0.0, (0, 100, 400), (0.4, 0.2, 0.02), (0.0, 0.0))
    assert fast.drop(1600) == pytest.approx(0.02 * 4**-STEEPEST)
    gained = Shape(1.0, 1.0, 0.0, (0, 100, 400), (0.4, 0.2, -0.01), (0.0, 0.0))
    assert gained.drop(1600) == -0.01


def test_what_extends_a_trained_structure_has_the_share_of_its_samples_that_extensions_had() -> None:
    """The made-up extension ends at what its own curve has after 8,000 samples, 1,000 of which are its own."""
    assert landscape().carried == pytest.approx(0.5, abs=0.15)
