"""The comparison of strategies on a small made-up table, whole."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import point, size
from whet.search.tabular import Table

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tables" / "compare.py"
SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(6)])


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, with a table of its own in place of the measured ones."""
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def figures(decision: Decision) -> tuple[float, float]:
        dropped = [int(name[5]) for name in decision]
        return 1.0 + 0.2 * len(dropped), 0.002 * sum(dropped) ** 1.5

    decisions = [point(SPACE, rank) for rank in range(size(SPACE))]
    about = {"network": "toy", "device": {"cpu": "some CPU"}}
    Table(SPACE, {d: figures(d) for d in decisions}, about).save(tmp_path / "toy.json.gz")
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def test_every_strategy_has_its_curve_its_row_and_its_count(compare: ModuleType, tmp_path: Path) -> None:
    compare.main(tmp_path / "results", seeds=3, measurements=40, only=["random", "sensitivity"])
    record = json.loads((tmp_path / "results" / "strategies-toy.json").read_text())
    assert set(record["curves"]) == {"random", "nsga2", "sensitivity"}
    for curves in record["curves"].values():
        assert len(curves) == 3 and all(len(c) == 40 and c == sorted(c) and c[-1] <= 1.0 for c in curves)
    assert 1 <= record["needed"]["nsga2"] <= 40
    text = (tmp_path / "results" / "strategies-toy.md").read_text()
    assert all(f"| {name} | " in text for name in record["curves"])
    assert (tmp_path / "results" / "strategies-toy.png").read_bytes().startswith(b"\x89PNG")


def test_a_strategy_that_never_gets_there_needs_infinitely_many(compare: ModuleType) -> None:
    found = {"nsga2": [[0.1, 0.5], [0.3, 0.6]], "quick": [[0.7, 0.7], [0.6, 0.6]], "slow": [[0.1, 0.2], [0.1, 0.3]]}
    assert compare.needed(found) == {"nsga2": 2, "quick": 1, "slow": float("inf")}
