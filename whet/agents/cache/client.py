"""A cache's side of the socket: it asks the process beside it, and never waits longer than its limit."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from pathlib import Path

from whet.agents.cache.eviction import Question
from whet.agents.cache.messages import ANSWER, Numbered, packed, sound
from whet.core.checks import positive

LIMIT_MS = 0.5
RETRY_S = 1.0
"""After a connection failed, it is tried again so much later."""
MOST_DESCRIPTORS = 1024
"""`select` takes no higher ones, and is used since `poll` rounds a wait up to whole milliseconds."""
OUTCOMES = ("answered", "late", "busy", "bad", "gone")
"""An answer was used; it did not come in time; an earlier one has still not come, so that nothing was asked; it was no
sound one; or there is no process, or a cache with too many open files. In all cases but the first LRU decides."""


class WrongAnswerError(Exception):
    """Bytes that are no answer to what was asked: nothing after them can be trusted."""


class Client:
    """Decides what is evicted by asking a sidecar; None, which leaves it to LRU, where no sound answer comes in time.

    Nothing here blocks but one wait for the answer, which ends with the limit. While a late answer is outstanding
    nothing more is asked, so that a slow process costs one limit, and not one for each eviction.
    """

    def __init__(self, path: Path, limit_ms: float = LIMIT_MS, retry_s: float = RETRY_S) -> None:
        self.path, self.limit_s, self.retry_s = path, positive("limit_ms", limit_ms) / 1e3, retry_s
        self.outcomes, self.latencies_us = Counter(dict.fromkeys(OUTCOMES, 0)), list[float]()
        self._end: socket.socket | None = None
        self._tried_s, self._number, self._outstanding, self._came = -float("inf"), 0, 0, b""

    def __call__(self, question: Question) -> int | None:
        """Return the mask of victims for a question, None to leave it to LRU; the time is kept, in microseconds."""
        began = time.perf_counter()
        outcome, mask = self._asked(question, began + self.limit_s)
        self.outcomes[outcome] += 1
        self.latencies_us.append((time.perf_counter() - began) * 1e6)
        return mask if outcome == "answered" else None

    def _asked(self, question: Question, until_s: float) -> tuple[str, int]:
        try:
            end = self._connected()
            if end is None:
                return "gone", 0
            if self._outstanding and self._answer(end, 0.0) is None:
                return "busy", 0
            self._number = self._number % 0xFFFFFFFF + 1
            data = packed(Numbered(self._number, question))
            if end.send(data) != len(data):
                raise BrokenPipeError("the socket took a part of a question only")
            self._outstanding = self._number
            mask = self._answer(end, until_s)
        except OSError:
            self.close()
            return "gone", 0
        except WrongAnswerError:
            self.close()
            return "bad", 0
        if mask is None:
            return "late", 0
        return ("answered", mask) if sound(mask, question) else ("bad", 0)

    def _connected(self) -> socket.socket | None:
        now = time.monotonic()
        if self._end is None and now - self._tried_s >= self.retry_s:
            self._tried_s = now
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            end.setblocking(False)
            try:
                if end.fileno() >= MOST_DESCRIPTORS:
                    raise OSError(f"descriptor {end.fileno()} is too high for select")
                end.connect(str(self.path))
            except OSError:
                end.close()
                raise
            self._end = end
        return self._end

    def _answer(self, end: socket.socket, until_s: float) -> int | None:
        """Return the mask of the outstanding answer, None where it has not come by then.

        Raises: OSError where the process is gone; WrongAnswerError where the bytes are none of an answer.
        """
        while len(self._came) < ANSWER.size:
            left_s = max(0.0, until_s - time.perf_counter())
            if not select.select([end], [], [], left_s)[0]:
                return None
            came = end.recv(ANSWER.size - len(self._came))
            if not came:
                raise ConnectionResetError("the process closed the connection")
            self._came += came
        number, mask = ANSWER.unpack(self._came)
        self._came = b""
        if number != self._outstanding:
            raise WrongAnswerError(f"an answer to {number}, which was not asked")
        self._outstanding = 0
        return int(mask)

    def close(self) -> None:
        """Give the connection up; the next question after a while tries another."""
        if self._end is not None:
            self._end.close()
        self._end, self._outstanding, self._came = None, 0, b""
