"""What the probes make believe before anything is trained."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.run import Budget
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.flow.explore import LASTING, Explore
from whet.flow.stage import Plan

SPACE = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.25, 0.5, 0.75, 1.0), 1.0)])


def test_a_cut_in_width_is_believed_to_last_longer_than_a_dropped_block() -> None:
    probes = [
        Trial(0, "probe", Decision({"a:keep": False}), quality=0.8, drop=0.06, speedup=1.2),
        Trial(1, "probe", Decision({"b:width": 0.5}), quality=0.8, drop=0.03, speedup=1.1),
    ]
    job = SimpleNamespace(
        space=lambda: SPACE, max_drop=0.01, strategy="sensitivity", seed=0, finishers=(), budget_seconds=60.0
    )
    run = SimpleNamespace(budget=Budget(60.0), progress=lambda event: None)
    bench: Any = SimpleNamespace(job=job, study=SimpleNamespace(trials=probes), run=run)
    latency, damage = Explore(bench, Plan())._beliefs()
    assert latency == pytest.approx({"a:keep": -math.log(1.2), "b:width": -2 * math.log(1.1)})
    assert damage == pytest.approx({"a:keep": 0.06, "b:width": LASTING["width"] * 0.06})
