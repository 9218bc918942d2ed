"""The learning curve as a figure."""

from __future__ import annotations

from pathlib import Path

from whet.report.learning_curve import figure, write

CURVE = [
    {"steps": 10, "evaluation": 1.0, "low": 0.5, "high": 1.5, "training": None, "episodes": 0},
    {"steps": 20, "evaluation": 2.0, "low": None, "high": None, "training": 1.5, "episodes": 3},
]


def test_it_shows_evaluations_training_and_the_interval() -> None:
    band, evaluation, training = figure(CURVE, "dqn on toy").data
    assert list(evaluation.x) == [10, 20] and list(evaluation.y) == [1.0, 2.0]
    assert list(band.y) == [1.5, 0.5] and list(training.y) == [None, 1.5]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    write(CURVE, "dqn on toy", tmp_path / "curve.html")
    page = (tmp_path / "curve.html").read_text(encoding="utf-8")
    assert "dqn on toy" in page and 'src="http' not in page
