"""The order of the files in a parallel run, how often garbage is looked for, a trained network, and brief timings."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import whet
from whet import tasks
from whet.flow import baseline, deliver, files, serving
from whet.hardware.fresh import Fresh
from whet.hardware.guard import Guarded

# Graphs are many small objects that live long: looking through them every 700 new ones is a twelfth of the run.
gc.set_threshold(100_000, 50, 100)

collect_ignore = ["openvino_reader/make_digits.py"]
"""It writes a file once, by a package that nothing else needs."""
FIRST, LATER, BEFORE = "flow/test_optimize.py", "flow/test_supernets.py", "onnx_reader"
"""Both files search, and searches measure, one at a time on a machine: at once they would wait for each other."""


def pytest_collection_finish() -> None:
    """Leave what is imported out of every later look for garbage: each race begins with one, a quarter of a second."""
    gc.collect()
    gc.freeze()


@event.listens_for(Engine, "connect")
def unsafe(connection: Any, record: Any) -> None:
    """Have SQLite not wait for the disk: no test cuts the power."""
    if type(connection).__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous=OFF")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take the longest file of searches first, and the next when that one is done."""
    paths = [item.path.as_posix() for item in items]
    middle = next((i for i, path in enumerate(paths) if BEFORE in path), len(items))

    def place(index: int) -> float:
        path = paths[index]
        return -1.0 if path.endswith(FIRST) else middle - 0.5 if path.endswith(LATER) else index

    items[:] = [items[index] for index in sorted(range(len(items)), key=place)]


@pytest.fixture(scope="session")
def lifted_digits() -> whet.Net:
    return whet.lift(*tasks.get("digits").trained(), name="digits_cnn")


@pytest.fixture(scope="module")
def digits(lifted_digits: whet.Net) -> tuple[whet.Net, Any]:
    return lifted_digits.copy(), tasks.get("digits")


@pytest.fixture(autouse=True, scope="module")
def brief(request: pytest.FixtureRequest) -> Iterator[None]:
    """Time files briefly in tests of searches: they are about what is done, not about how fast the files are."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name in ("flow", "schedule", "bench") or request.path.name == "test_docs.py":
            patch.setattr(deliver, "SECONDS_EACH", 0.2)
            patch.setattr(baseline, "BASELINE_SECONDS", 1.5)
            patch.setattr(files, "CANDIDATE_SECONDS", 0.3)
            patch.setattr(files, "FINISHED_SECONDS", 0.4)
            patch.setattr(serving, "CALLS_SECONDS", 0.01)
            patch.setattr(serving, "served_fresh", lambda *given: Fresh(50_000_000, 0.05))
        yield


@pytest.fixture(autouse=True, scope="module")
def unguarded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start no process that files are tried in first: it takes four seconds for each search, and no file here crashes.

    What it is good for is tested where it stands, and that a search has it in `test_optimize.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name not in ("hardware", "device", "peers"):
            patch.setattr(Guarded, "_crash", lambda self, order: None)
            patch.setattr(Guarded, "begin", lambda self: None)
        yield
