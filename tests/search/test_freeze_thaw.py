"""Freeze-thaw: its intervals hold what they say, and it goes on with what rises."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from whet.core.errors import StudyError
from whet.search.freeze_thaw import FreezeThaw, Prior


def test_intervals_hold_the_future_of_curves_as_often_as_they_say() -> None:
    """Calibration: for curves of the prior, seen for a third, four of five ends lie in their interval."""
    engine, generator = FreezeThaw(0), np.random.default_rng(1)
    truth, t = Prior.drawn(generator, 150), np.linspace(0.03, 0.33, 8)
    seen = truth.qualities(t) + truth.noise[:, None] * generator.standard_normal((150, 8))
    ends = truth.qualities(np.array([1.0]))[:, 0]
    held = 0
    for row, end in zip(seen, ends, strict=True):
        low, high = engine.interval(list(zip(t.tolist(), row.tolist(), strict=True)), 1.0)
        held += low <= end <= high
    assert 0.7 < held / 150 < 0.95


def test_a_longer_look_narrows_the_interval() -> None:
    engine = FreezeThaw(0)
    curve = [(t, 0.8 - 0.5 * (1 + 20 * t) ** -0.6) for t in np.linspace(0.05, 0.9, 18).tolist()]
    widths = [high - low for low, high in (engine.interval(curve[:n], 1.0) for n in (0, 3, 18))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05


def test_it_goes_on_with_what_rises_rather_than_with_what_has_ended() -> None:
    t = np.linspace(0.02, 0.3, 12).tolist()
    curves = {
        "ended": [(x, 0.7 - 0.3 * float(np.exp(-60 * x))) for x in t],
        "rising": [(x, 0.9 - 0.5 * float(np.exp(-3 * x))) for x in t],
        "poor": [(x, 0.2 + 0.01 * x) for x in t],
    }
    engine = FreezeThaw(0)
    chosen = Counter(engine.choose(curves, step) for step in range(60))
    assert chosen.most_common(1)[0][0] == "rising" and chosen["rising"] > 40 and chosen["poor"] == 0
    assert engine.choose(curves, 3) == engine.choose(curves, 3)


def test_what_was_not_begun_is_tried_where_all_others_have_ended() -> None:
    t = np.linspace(0.02, 0.6, 20).tolist()
    curves = {"ended": [(x, 0.3) for x in t], "new": []}
    chosen = Counter(FreezeThaw(0).choose(curves, step) for step in range(40))
    assert chosen["new"] > 30


def test_qualities_out_of_range_and_no_curves_are_refused() -> None:
    with pytest.raises(StudyError, match="no trainings"):
        FreezeThaw(0).choose({})
    with pytest.raises(StudyError, match=r"'a' has 1\.2"):
        FreezeThaw(0).choose({"a": [(0.1, 1.2)]})


def test_horizon_and_margin_are_drawn_for_each_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Horizons are uniform, margins log-uniform from 1e-4 to 1e-1, in shares of what lies between the best and 1."""
    asked: list[tuple[float, float]] = []
    monkeypatch.setattr(
        FreezeThaw, "chance", lambda self, curve, horizon, wanted: asked.append((horizon, wanted)) or 0.0
    )
    engine = FreezeThaw(0)
    for step in range(300):
        engine.choose({"a": [(0.1, 0.3), (0.2, 0.6)]}, step)
    horizons, wanted = np.array(asked).T
    margins = np.log10((wanted - 0.6) / 0.4)
    assert abs(horizons.mean() - 0.5) < 0.06 and horizons.min() >= 0 and horizons.max() <= 1
    assert -4 <= margins.min() < -3.9 and -1.1 < margins.max() <= -1 and abs(margins.mean() + 2.5) < 0.2


def test_a_rising_curve_is_the_likelier_to_pass_the_farther_one_looks() -> None:
    engine, curve = FreezeThaw(0), [(x, 0.9 - 0.5 * float(np.exp(-3 * x))) for x in np.linspace(0.02, 0.3, 12).tolist()]
    chances = [engine.chance(curve, horizon, 0.75) for horizon in (0.0, 0.2, 0.7, 9.0)]
    assert chances[0] < 0.05 < chances[1] < chances[2] == chances[3] and chances[2] > 0.8
