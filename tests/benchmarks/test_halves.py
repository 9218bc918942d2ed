"""On networks of five kinds no search ends behind what anyone would do by hand: half of the channels and a training."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "halves.py"
SECONDS = 10.0
NOISE = 0.9
"""The share of the half's speed that a race of a second may show of an equal file's."""


@pytest.fixture(scope="module")
def halves() -> ModuleType:
    spec = importlib.util.spec_from_file_location("halves", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.alone
@pytest.mark.parametrize("name", ["speech", "encoder", "images", "regression", "embedding"])
def test_no_search_ends_behind_half_of_the_channels_trained_for_as_long(halves: ModuleType, name: str) -> None:
    row = halves.compared(name, halves.WORKS[name](), SECONDS, "3%")
    assert row.within
    assert row.speedup >= 1.0 * NOISE
    assert not row.half_within or row.speedup >= NOISE * row.half_speedup, row
