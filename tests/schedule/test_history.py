"""What the log answers."""

from __future__ import annotations

from resnet44 import explored, rounds, trial


def test_what_is_gone_on_with_as_it_was_adds_its_samples() -> None:
    trials = [*explored()[:2], trial(2, "full", 2.3, 0.012, 150_000, 1), trial(3, "full", 2.3, 0.008, 300_000, 2)]
    assert rounds(trials)[0].situation.history.fresh_samples(trials[3]) == 300_000
