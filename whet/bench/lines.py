"""`Lines`: what a long benchmark found out, one line each, so that a killed run loses only what it was doing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Lines:
    """A file of JSON pairs of key and value; a line that was being written when the process died counts as none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = Lines(Path(folder) / "found.jsonl")
    ...     lines.append("a", 1)
    ...     lines.read()
    {'a': 1}
    """

    path: Path

    def read(self) -> dict[str, Any]:
        """Return the values by their keys, the last one of each."""
        text = self.path.read_text() if self.path.exists() else ""
        if text and not text.endswith("\n"):  # what comes next is to begin a line of its own
            with self.path.open("a") as file:
                file.write("\n")
        found = dict[str, Any]()
        for line in text.splitlines():
            try:
                key, value = json.loads(line)
            except ValueError:
                continue
            found[key] = value
        return found

    def append(self, key: str, value: Any) -> None:
        """Write one pair."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps([key, value]) + "\n")
