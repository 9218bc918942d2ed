"""A search does not end behind what anyone would do by hand: half of the channels and a training as long.

One of the benchmark's five networks, that of convolutions and a GRU; `python benchmarks/halves.py` has all of them.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "halves.py"
SECONDS = 30.0


@pytest.fixture(scope="module")
def halves() -> ModuleType:
    spec = importlib.util.spec_from_file_location("halves", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.alone
def test_a_search_does_not_end_behind_half_of_the_channels_trained_for_as_long(halves: ModuleType) -> None:
    row = halves.compared("speech", halves.WORKS["speech"](), SECONDS, "1%")
    assert row.within and not row.behind, row
    assert row.speedup >= 1.5 and row.half_speedup > 1.2, row
