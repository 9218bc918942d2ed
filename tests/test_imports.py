"""`import whet` and the commands that only tell something load no torch, in a fraction of a second each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import whet

HEAVY = ("torch", "optuna", "sqlalchemy", "onnx", "openvino", "onnxruntime", "sklearn", "scipy", "numpy")
BOUND_SECONDS = 0.6
"""Of CPU time, the least of three processes: .1 for the import and .25 for a command on a 2-core Xeon."""
SAID = f"import sys; print('heavy:', *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
COMMAND = f"""
import atexit, sys
from whet.cli import main
atexit.register(lambda: exec({SAID!r}))
sys.argv = ["whet", *sys.argv[1:]]
main()
"""


def cpu_seconds(code: str, *words: str) -> tuple[float, str]:
    """Return the CPU time of a new process that runs `code`, and what it wrote to standard error."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, done.stderr


@pytest.mark.parametrize("words", [(), ("--help",), ("list",), ("list", "--json"), ("explain", "search.improvement")])
def test_nothing_heavy_is_loaded_and_it_is_quick(words: tuple[str, ...]) -> None:
    code = COMMAND if words else f"import whet; {SAID}"
    spent, told = min(cpu_seconds(code, *words) for _ in range(3))
    assert told.strip() == "heavy:"
    assert spent < BOUND_SECONDS


def test_names_are_there_before_they_are_loaded() -> None:
    code = "import whet; print(*[n for n in whet.__all__ if n not in dir(whet)]); print(whet.Net, whet.lift)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    missing, objects = done.stdout.splitlines()
    assert not missing and "whet.core.net.Net" in objects and "function lift" in objects
    assert all(getattr(whet, name) for name in whet.__all__)
    assert {name for name in dir(whet) if not name.startswith("__")} == set(whet.__all__)  # nothing else completes


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'whet' has no attribute 'optimise'"):
        _ = whet.optimise  # type: ignore[attr-defined]
