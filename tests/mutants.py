"""Does a test fail when a method's key term is dropped or turned? `make mutants` tries each of `mutations.toml`.

A row of the catalogue names its tests and three or more mutations, each a text that stands exactly once in a file, what
replaces it, and which term that drops or turns. The project is copied once; in the copy one mutation at a time is
applied, the row's tests run, and the file restored. A mutation counts as caught only if a *test fails*: code that no
longer compiles, tests that cannot be collected and tests that take too long prove nothing.

    make mutants ONLY="search.tree search.divided"
    python tests/mutants.py --only search.tree --json

Tests run in processes forked from one that has the libraries loaded: loading them took longer than most tests. Those
that were quick on unmutated code come first: the first that fails is enough.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = Path("tests") / "mutations.toml"
COPIED, LINKED = ("whet", "tests"), ("benchmarks", "docs", "examples", "README.md", "pyproject.toml")
"""Linked is what tests read and no mutation changes."""
LEAST_TIMEOUT, TIMEOUT_FACTOR = 60.0, 5.0
"""Seconds, and how many times as long as on unmutated code tests may take."""
PRELOADED = (
    "torch", "torch.export", "torch.onnx", "scipy.stats", "scipy.optimize", "sklearn", "onnx", "onnxruntime",
    "openvino", "optuna", "hypothesis", "numpy.testing",
)  # fmt: skip
"""What most tests import, and nothing of whet."""
SETTINGS = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
"""No bytecode is kept: a mutation of equal length within a second would be taken for the file before it."""
Verdict = Literal["passed", "caught", "SURVIVED", "too slow", "broken"]


@dataclass(frozen=True)
class Mutation:
    """One change of the source: `find`, which occurs exactly once in `file`, becomes `replace`."""

    file: str
    find: str
    replace: str
    why: str

    def mutated(self, source: str) -> str:
        """Return the source with the change.

        Raises: ValueError where the text does not occur exactly once, changes nothing, or leaves no valid Python.
        """
        count = source.count(self.find)
        if count != 1 or self.find == self.replace:
            raise ValueError(f"{self.file}: {self.find!r} must occur exactly once and change; it occurs {count} times.")
        changed = source.replace(self.find, self.replace)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"{self.file}: {self.replace!r} leaves no valid Python: {error}") from error
        return changed


@dataclass(frozen=True)
class Row:
    """A method of the catalogue: the tests that are to fail, paths from the root, and its mutations."""

    name: str
    tests: tuple[str, ...]
    mutations: tuple[Mutation, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one mutation, or of the unmutated code."""

    row: str
    why: str
    verdict: Verdict
    seconds: float
    note: str = ""


def read(path: Path) -> list[Row]:
    """Return the rows of a file, in order."""
    with path.open("rb") as file:
        tables = tomllib.load(file)
    return [
        Row(name, tuple(table["tests"]), tuple(Mutation(**one) for one in table["mutations"]))
        for name, table in tables.items()
    ]


def copied(root: Path, folder: Path) -> Path:
    """Copy what mutations change into `folder`, link what tests read besides, and return the folder."""
    for name in COPIED:
        if (root / name).exists():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        if (root / name).exists():
            (folder / name).symlink_to(root / name)
    return folder


Seconds = dict[str, float]


def run(folder: Path, tests: Collection[str], timeout: float, seconds: Seconds) -> tuple[int | None, float, str]:
    """Run tests up to the first failure; return pytest's exit code (None: out of time), seconds, and the last line.

    Tests that measure time are left out: they fail for other reasons. `seconds` are those of each test, the quickest
    is run first; where there are none they are written down.
    """
    words = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not alone", "--tb=line", *tests]
    if any("hypothesis" in (folder / test).read_text(encoding="utf-8") for test in tests):
        words.append("--hypothesis-seed=0")
    output, times = folder / "output.txt", folder / "seconds.json"
    start = time.monotonic()
    process = multiprocessing.get_context("forkserver").Process(
        target=_tests, args=(folder, words, output, times, seconds)
    )
    process.start()
    process.join(timeout)
    code = process.exitcode
    # With it goes whatever its tests have left running.
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    if code is None:
        return None, time.monotonic() - start, f"more than {timeout:.0f} s"
    if not seconds and times.exists():
        seconds |= json.loads(times.read_text(encoding="utf-8"))
    said = output.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return code, time.monotonic() - start, lines[0] if lines else said.strip()[-200:]


@dataclass
class QuickFirst:
    """A plugin of pytest that runs quick tests first, and knows afterwards how long each took."""

    seconds: Seconds
    took: Seconds = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration


def _tests(folder: Path, words: list[str], output: Path, times: Path, seconds: Seconds) -> None:
    """Run pytest in this process, in `folder` and on the code there, and end the process with its exit code."""
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    given = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ |= SETTINGS | {"PYTHONPATH": os.pathsep.join([str(folder), *given])}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(p for p in sys.path if Path(p).resolve() not in (ROOT, ROOT / "tests"))]
    plugin = QuickFirst(seconds)
    code = int(pytest.main(words, plugins=[plugin]))
    times.write_text(json.dumps(plugin.took), encoding="utf-8")
    sys.stdout.flush()
    os._exit(code)


def tried(folder: Path, row: Row, mutation: Mutation, timeout: float, quick: Seconds) -> Outcome:
    """Apply a mutation to the copy, run the row's tests, restore the file."""
    path = folder / mutation.file
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutation.mutated(source), encoding="utf-8")
        code, seconds, note = run(folder, row.tests, timeout, quick)
    except ValueError as error:
        return Outcome(row.name, mutation.why, "broken", 0.0, str(error))
    finally:
        path.write_text(source, encoding="utf-8")
    verdicts: dict[int | None, Verdict] = {0: "SURVIVED", 1: "caught", None: "too slow"}
    return Outcome(row.name, mutation.why, verdicts.get(code, "broken"), seconds, note)


def outcomes(root: Path, rows: Collection[Row], jobs: int) -> Iterator[Outcome]:
    """Yield what becomes of each row's unmutated code and of its mutations; `jobs` rows are tried at a time.

    Rows with the same tests are tried one after the other, their unmutated code once.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.tests, []).append(row)
    os.environ |= SETTINGS
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    found, free = SimpleQueue[Outcome | Future[None]](), SimpleQueue[Path]()
    with ExitStack() as stack:
        for _ in range(jobs):
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="whet-mutants-"))
            free.put(copied(root, Path(name)))
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, cancel_futures=True)
        for group in groups.values():
            pool.submit(_group, group, free, found.put).add_done_callback(found.put)
        left = len(groups)
        while left:
            one = found.get()
            if isinstance(one, Outcome):
                yield one
            else:
                one.result()
                left -= 1


def _group(rows: Collection[Row], free: SimpleQueue[Path], tell: Callable[[Outcome], None]) -> None:
    """Try rows of the same tests in a folder that is free, and tell what becomes of each mutation."""
    folder = free.get()
    try:
        name, tests = next((row.name, row.tests) for row in rows)
        quick: Seconds = {}
        code, seconds, note = run(folder, tests, 3600.0, quick)
        tell(Outcome(name, "unmutated", "broken" if code else "passed", seconds, note))
        timeout = max(LEAST_TIMEOUT, TIMEOUT_FACTOR * seconds)
        for row in rows if not code else ():
            for mutation in row.mutations:
                tell(tried(folder, row, mutation, timeout, quick))
    finally:
        free.put(folder)


def main(words: list[str] | None = None, root: Path = ROOT) -> int:
    """Print the table; return 0 where every mutation was caught, 1 where not, 2 for a row that does not exist."""
    parser = argparse.ArgumentParser(
        prog="mutants", description="Apply one mutation at a time and run its row's tests."
    )
    parser.add_argument("--only", action="append", metavar="ROW", help="a row of the catalogue; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many rows are tried at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of the table")
    asked = parser.parse_args(words)
    rows = {row.name: row for row in read(root / CATALOGUE)}
    wrong = set(asked.only or ()) - set(rows)
    if wrong:
        parser.error(f"no row {', '.join(sorted(wrong))}; there are: {', '.join(rows)}.")
    found: list[Outcome] = []
    for one in outcomes(root, [rows[name] for name in asked.only or rows], asked.jobs):
        found.append(one)
        line = f"{one.row:<28} {one.verdict:<9} {one.seconds:6.1f} s  {one.why}"
        detail = f"\n    {one.note}" if one.verdict not in ("passed", "caught") else ""
        print(json.dumps(asdict(one)) if asked.json else line + detail, flush=True)
    caught = sum(one.verdict == "caught" for one in found)
    failed = [one for one in found if one.verdict not in ("passed", "caught")]
    print(f"{caught} caught, {len(failed)} not.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
