"""The forecast of training speed is exact where a sample costs a constant and a share of its operations."""

from __future__ import annotations

import pytest

from whet.train.speed import LATEST, TrainingSpeed


def test_a_line_is_found_and_neither_part_is_below_zero() -> None:
    line = TrainingSpeed([(m, 1e-3 + 2e-9 * m) for m in (1e6, 2e6, 5e6)])
    assert line.seconds(8e6) == pytest.approx(17e-3) and line.samples(8e6, 34.0) == pytest.approx(2000)
    falling = TrainingSpeed([(1e6, 3e-3), (2e6, 2e-3)])
    assert falling.seconds(1e9) == pytest.approx(falling.seconds(0.0)) and 2e-3 < falling.seconds(0.0) < 3e-3


def test_little_seen_is_forecast_with_care() -> None:
    assert TrainingSpeed([]).samples(1e6, 1.0) == float("inf")
    one = TrainingSpeed([(4e6, 2e-3)])
    assert one.seconds(4e6) == pytest.approx(2e-3) and one.seconds(0.0) == pytest.approx(1e-3)


def test_the_last_trainings_count() -> None:
    old, new = [(m, 1.0) for m in (1e6, 2e6)] * LATEST, [(m, 1e-9 * m) for m in (1e6, 2e6)] * LATEST
    assert TrainingSpeed([*old, *new]).seconds(3e6) == pytest.approx(3e-3)
