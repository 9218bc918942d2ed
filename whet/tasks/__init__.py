"""The built-in tasks by name: `get("cifar10", data)`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from whet.core.errors import unknown

if TYPE_CHECKING:
    from whet.tasks.bundle import Bundle

TASKS = {
    "digits": "whet.tasks.digits:digits",
    "cifar10": "whet.tasks.cifar10:cifar10",
    "shakespeare": "whet.tasks.shakespeare:shakespeare",
    "protein": "whet.tasks.uci:protein",
    "parkinsons": "whet.tasks.uci:parkinsons",
}


def get(name: str, data: str | Path | None = None) -> Bundle:
    """Return a task with its networks; `data` is the folder that holds its files, by default `$WHET_DATA`."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    module, _, attribute = TASKS[name].partition(":")
    bundle: Bundle = getattr(import_module(module), attribute)(None if data is None else Path(data))
    return bundle
