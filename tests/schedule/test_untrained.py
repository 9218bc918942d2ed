"""Repaired candidates are verified untrained where they are likely to be within the limit."""

from __future__ import annotations

import pytest
from resnet44 import rounds, told, trial

from whet.schedule import untrained
from whet.schedule.untrained import chance


def test_one_that_is_told_to_be_within_the_limit_is_verified_untrained_if_that_is_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, _ = rounds([trial(0, "short", 1.2, 0.004, 0)])
    for drop, expected in ((0.006, 1), (0.0101, 1), (0.02, 0), (0.05, 0)):
        monkeypatch.setattr(untrained, "told", lambda s, drop=drop: [told(1, 2.0, drop)])
        chosen = stage.untrained.fastest()
        assert chosen is not None and chosen.number == expected, drop


def test_what_an_error_tells_is_less_certain_than_what_was_scored() -> None:
    scored, hoped = trial(0, "short", 2.0, 0.008, 0), told(1, 2.0, 0.008)
    assert chance(scored, 0.01) > 0.9 > chance(hoped, 0.01) > 0.5
    assert chance(trial(0, "short", 2.0, 0.012, 0), 0.01) < 0.1 < chance(told(1, 2.0, 0.012), 0.01)
