"""One thing at a time: who measures, who waits, and when nobody else may."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from whet.core.errors import WhetError


class Busy(WhetError):
    """So many wait already that nobody else may."""


class Turns:
    """A lock that tells how many wait for it, at most `most`.

    >>> turns = Turns(2)
    >>> with turns.turn():
    ...     turns.working, turns.waiting
    (True, 0)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.working, self.waiting = False, 0
        self._turn, self._counts = threading.Lock(), threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn and have it. Raises: Busy where the queue is full."""
        with self._counts:
            if self.waiting >= self.most and self.working:
                raise Busy(f"the device is measuring, and {self.waiting} wait already: come back in a few seconds.")
            self.waiting += 1
        with self._waited():
            self._turn.acquire()
        try:
            self.working = True
            yield
        finally:
            self.working = False
            self._turn.release()

    @contextmanager
    def _waited(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._counts:
                self.waiting -= 1
