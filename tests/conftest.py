"""The order of the files in a parallel run, how often garbage is looked for, a trained network, and brief timings."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import whet
from whet import tasks
from whet.flow import baseline, deliver, files, mixing, serving
from whet.hardware.fresh import Fresh
from whet.hardware.guard import Guarded
from whet.schedule import mixing as schedule_mixing

# Graphs are many small objects that live long: looking through them every 700 new ones is a twelfth of the run.
gc.set_threshold(100_000, 50, 100)

collect_ignore = ["openvino_reader/make_digits.py"]
"""It writes a file once, by a package that nothing else needs."""
FIRST, LATER, BEFORE = "flow/test_optimize.py", "flow/test_supernets.py", "onnx_reader"
"""Both files search, and searches measure, one at a time on a machine: at once they would wait for each other."""

LIFTING = (
    "compress/test_repair.py",
    "compress/test_stand_in.py",
    "graph/test_axes.py",
    "graph/test_lift.py",
    "onnx_reader/test_onnx_exports.py",
)
"""Files of tests on all architectures, which take seconds to lift."""


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the files that lift the same architectures to one process, which lifts each once."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduling = import_module("xdist.scheduler").LoadFileScheduling

    class Together(scheduling):  # type: ignore[misc, valid-type]
        def _split_scope(self, nodeid: str) -> str:
            path: str = super()._split_scope(nodeid)
            return LIFTING[0] if path.endswith(LIFTING) else path

    return Together(config, log)


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
            patch.setattr(mixing, "RACED_SECONDS", 0.2)
            if request.path.parent.name != "schedule":  # tests of schedulers have made-up clocks, to which it is added
                patch.setattr(schedule_mixing, "RACED_SECONDS", 0.2)
            patch.setattr(serving, "CALLS_SECONDS", 0.01)
            patch.setattr(serving, "served_fresh", lambda *given: Fresh(50_000_000, 0.05))
        yield


@pytest.fixture(autouse=True, scope="module")
def one_table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have torch's exporter read its table of operators once: it reads it anew for each file, for a second and more."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name in ("onnx_reader", "hardware", "onnx_writer"):
            registry = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
            read = cache(registry.from_torchlib)

            def copied(opset_version: int) -> Any:
                table = copy.copy(read(opset_version))
                table.functions = {target: list(rows) for target, rows in table.functions.items()}
                return table

            patch.setattr(registry, "from_torchlib", staticmethod(copied))
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
