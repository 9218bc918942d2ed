"""A run: one clock for all sessions of a study, one training loop for all passes."""

from __future__ import annotations

from typing import Any

import pytest

from whet.core.run import Budget, Run


def test_the_clock_counts_earlier_sessions_and_everything_since() -> None:
    budget = Budget(100.0, spent_before=30.0)
    budget.started -= 20.0
    assert budget.spent_seconds == pytest.approx(50.0, abs=1.0)
    assert budget.left_seconds == pytest.approx(50.0, abs=1.0)


def test_training_has_the_runs_teacher_and_seed_unless_told_otherwise() -> None:
    asked: list[tuple[Any, Any, dict[str, Any]]] = []
    run = Run("task", "target", teacher="teacher", seed=7, trainer=lambda net, task, **o: asked.append((net, task, o)))  # type: ignore[arg-type]
    run.fit("net", seconds=3)  # type: ignore[arg-type]
    run.fit("net", teacher=None, seed=8)  # type: ignore[arg-type]
    (net, task, first), (_, _, second) = asked
    assert (net, task, first["teacher"], first["seed"], first["seconds"]) == ("net", "task", "teacher", 7, 3)
    assert (second["teacher"], second["seed"]) == (None, 8)
    with pytest.raises(RuntimeError, match="without a trainer"):
        Run("task", "target").fit("net")  # type: ignore[arg-type]
