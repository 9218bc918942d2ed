"""Does a test fail when a method's key term is dropped or turned? `make mutants` tries each of `mutations.toml`.

A row of the catalogue names its tests and three or more mutations, each a text that stands exactly once in a file, what
replaces it, and which term that drops or turns. The project is copied once; in the copy one mutation at a time is
applied, the row's tests run, and the file restored. A mutation counts as caught only if a *test fails*: code that no
longer compiles, tests that cannot be collected and tests that take too long prove nothing.

    make mutants ONLY="search.tree search.divided"
    python tests/mutants.py --only search.tree --json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = Path("tests") / "mutations.toml"
COPIED, LINKED = ("whet", "tests"), ("benchmarks", "docs", "examples", "README.md", "pyproject.toml")
"""Linked is what tests read and no mutation changes."""
LEAST_TIMEOUT, TIMEOUT_FACTOR = 60.0, 5.0
"""Seconds, and how many times as long as on unmutated code tests may take."""
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


def run(folder: Path, tests: Collection[str], timeout: float) -> tuple[int | None, float, str]:
    """Run tests up to the first failure; return pytest's exit code (None: out of time), seconds, and the last line.

    Tests that measure time are left out: they fail for other reasons.
    """
    words = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not alone", "--tb=line", *tests]
    if any("hypothesis" in (folder / test).read_text(encoding="utf-8") for test in tests):
        words.append("--hypothesis-seed=0")
    # No bytecode is kept: a mutation of equal length within a second would be taken for the file before it.
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    extra = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env={**os.environ, **extra}, capture_output=True, text=True,
            timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, time.monotonic() - start, f"more than {timeout:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, time.monotonic() - start, lines[0] if lines else done.stdout.strip()[-200:]


def tried(folder: Path, row: Row, mutation: Mutation, timeout: float) -> Outcome:
    """Apply a mutation to the copy, run the row's tests, restore the file."""
    path = folder / mutation.file
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutation.mutated(source), encoding="utf-8")
        code, seconds, note = run(folder, row.tests, timeout)
    except ValueError as error:
        return Outcome(row.name, mutation.why, "broken", 0.0, str(error))
    finally:
        path.write_text(source, encoding="utf-8")
    verdicts: dict[int | None, Verdict] = {0: "SURVIVED", 1: "caught", None: "too slow"}
    return Outcome(row.name, mutation.why, verdicts.get(code, "broken"), seconds, note)


def outcomes(root: Path, rows: Collection[Row]) -> Iterator[Outcome]:
    """Yield what becomes of each row's unmutated code and of each of its mutations, one after the other."""
    sound: dict[tuple[str, ...], Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="whet-mutants-") as name:
        folder = copied(root, Path(name))
        for row in rows:
            if row.tests not in sound:
                code, seconds, note = run(folder, row.tests, 3600.0)
                verdict: Verdict = "broken" if code else "passed"
                sound[row.tests] = Outcome(row.name, "unmutated", verdict, seconds, note)
                yield sound[row.tests]
            if sound[row.tests].verdict != "passed":
                continue
            timeout = max(LEAST_TIMEOUT, TIMEOUT_FACTOR * sound[row.tests].seconds)
            yield from (tried(folder, row, mutation, timeout) for mutation in row.mutations)


def main(words: list[str] | None = None, root: Path = ROOT) -> int:
    """Print the table; return 0 where every mutation was caught, 1 where not, 2 for a row that does not exist."""
    parser = argparse.ArgumentParser(
        prog="mutants", description="Apply one mutation at a time and run its row's tests."
    )
    parser.add_argument("--only", action="append", metavar="ROW", help="a row of the catalogue; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of the table")
    asked = parser.parse_args(words)
    rows = {row.name: row for row in read(root / CATALOGUE)}
    wrong = set(asked.only or ()) - set(rows)
    if wrong:
        parser.error(f"no row {', '.join(sorted(wrong))}; there are: {', '.join(rows)}.")
    found: list[Outcome] = []
    for one in outcomes(root, [rows[name] for name in asked.only or rows]):
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
