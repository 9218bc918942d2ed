"""Every source file has its test at the mirrored path, under a name that is unique in the repository.

`whet/a/b/c.py` is tested by `tests/a/b/test_c.py`, or where another test has that name by `test_b_c.py` or
`test_a_b_c.py` in the same folder. Tests of several files at once have any other name.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 400

WITHOUT: set[str] = set()
"""Files that still have no test of their own. Take out of this list what gets one; nothing comes in."""


def sources() -> list[Path]:
    """Return the files of the package below `whet`, but for `__init__` and `__main__`."""
    found = (path.relative_to(ROOT / "whet") for path in (ROOT / "whet").rglob("*.py"))
    return sorted(path for path in found if not path.name.startswith("__"))


def places(source: Path) -> list[Path]:
    """Return where the test of a source file may be.

    >>> [str(place) for place in places(Path("search/strategies/random.py"))]
    ['search/strategies/test_random.py', 'search/strategies/test_strategies_random.py', \
'search/strategies/test_search_strategies_random.py']
    """
    folders = source.parent.parts
    prefixes = ["_".join(["test", *folders[len(folders) - n :], source.stem]) for n in range(len(folders) + 1)]
    return [source.parent / f"{name}.py" for name in prefixes]


def test_every_source_file_has_its_test_at_the_mirrored_path() -> None:
    missing = {s.as_posix() for s in sources() if not any((ROOT / "tests" / place).exists() for place in places(s))}
    assert not missing - WITHOUT, "write their tests"
    assert not WITHOUT - missing, "take them out of the list"


def test_names_of_test_files_are_unique() -> None:
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not {name: count for name, count in counts.items() if count > 1}


def test_no_file_is_longer_than_one_reads() -> None:
    files = [path for folder in ("whet", "tests") for path in (ROOT / folder).rglob("*.py")]
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {path: count for path, count in lines.items() if count > MOST_LINES}
