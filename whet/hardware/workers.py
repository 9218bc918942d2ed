"""`workers`: processes that compute side by side and end with the one that began them, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def workers(count: int, begin: Callable[..., Any] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """Return a pool of `count` processes, each of which calls `begin(*arguments)` first.

    A pool of the standard library whose owner is killed leaves its processes computing, beside whatever is measured
    next.

    >>> with workers(1) as pool:
    ...     pool.submit(abs, -2).result()
    2
    """
    # Spawned: a fork of a process in which torch has computed may hang.
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (begin, arguments))


def _begin(begin: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
