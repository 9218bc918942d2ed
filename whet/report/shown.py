"""Progress that is shown where nobody asked for something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from whet.report.console import LiveProgress

Told = Callable[[dict[str, Any]], None]


@contextmanager
def shown(progress: Told | bool | None) -> Iterator[Told]:
    """Yield what takes progress events: a function that was given, or by default a line on standard error.

    On a terminal and in a notebook the line is kept up to date, in files it is written anew for each stage and every
    few seconds. False shows nothing.
    """
    if callable(progress):
        yield progress
    elif progress is False:
        yield lambda event: None
    else:
        with LiveProgress() as told:
            yield told
