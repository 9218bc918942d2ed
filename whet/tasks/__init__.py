"""The built-in tasks by name: `get("cifar10", data)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whet import catalogue

if TYPE_CHECKING:
    from whet.tasks.bundle import Bundle

TASKS = tuple(catalogue.names("task"))


def get(name: str, data: str | Path | None = None) -> Bundle:
    """Return a task with its networks; `data` is the folder that holds its files, by default `$WHET_DATA`."""
    bundle: Bundle = catalogue.read(name, "task")(None if data is None else Path(data))
    return bundle
