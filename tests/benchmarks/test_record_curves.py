"""Which decisions get a learning curve."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from whet.core.space import Choice, Decision, Space

PATH = Path(__file__).parents[2] / "benchmarks" / "curves.py"
BLOCKS = [Choice(f"block{i}:keep", (True, False), True) for i in range(6)]
SPACE = Space([*BLOCKS, Choice("a:width", (0.25, 0.5, 1.0), 1.0)])


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_curves", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_any_first_few_decisions_hold_all_kinds_and_all_singles_come() -> None:
    obvious = [Decision({"a:width": f}) for f in (0.5, 0.25)]
    found = benchmark().drawn(SPACE, obvious, 60)
    assert len(set(found)) == 60 and found[0] == Decision()
    singles = {Decision({c.name: v}) for c in SPACE for v in c.values if v != c.identity}
    assert singles <= set(found) and set(obvious) <= set(found)
    sizes = [len(d) for d in found[:10]]
    assert 1 in sizes and max(sizes) > 3
    assert found[:20] == benchmark().drawn(SPACE, obvious, 20)
