"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
