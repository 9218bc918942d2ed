"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of the same suffix; what was written there becomes `path` at the end.

    The folder is made where it is missing. After an error or a kill `path` is as it was.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "table.json"
    >>> with whole(target) as part:
    ...     _ = part.write_text("{}")
    ...     target.exists()
    False
    >>> target.read_text()
    '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, path)


def part_of(path: Path) -> Path:
    """Return where `whole` writes what becomes `path`.

    >>> part_of(Path("runs/table.json")).as_posix()
    'runs/.table.part.json'
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all, in UTF-8."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def commit() -> str:
    """Return the commit of the code that runs, `and changes` where it has some; of an installed package its version."""
    from whet import __version__

    folder = Path(__file__).parent
    words = [["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", ".."]]
    try:
        found, changed = (
            subprocess.run(["git", "-C", str(folder), *one], capture_output=True, text=True, check=True).stdout.strip()
            for one in words
        )
    except (OSError, subprocess.CalledProcessError):
        return f"whet {__version__}"
    return f"{found} and changes" if changed else found


def made_by(figures: Mapping[str, Any]) -> str:
    """Return the sentence that names the commit of a result, or says that none was written down.

    >>> made_by({"commit": "0123456789ab"}), made_by({})
    ('Made by commit 0123456789ab.', 'Made by code that did not write down its commit.')
    """
    known = figures.get("commit")
    return f"Made by commit {known}." if known else "Made by code that did not write down its commit."


def write_result(stem: Path, figures: Mapping[str, Any], text: str) -> None:
    """Write the result of a benchmark twice: STEM.json for programs, with its commit, STEM.md for people."""
    write_text(Path(f"{stem}.json"), json.dumps({"commit": commit(), **figures}, indent=1) + "\n")
    write_text(Path(f"{stem}.md"), text)
