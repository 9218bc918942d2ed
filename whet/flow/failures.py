"""A candidate that fails is a failed trial with its reason, unless the search itself cannot go on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType

from whet.core.errors import StudyError, WhetError, WorkersError

LONGEST = 300
"""How many characters of a reason are kept."""


@dataclass(frozen=True)
class Attempt:
    """A context that gives what is raised in it to `failed` and goes on behind it, unless that ends the run.

    `timed` is the context that charges its time.
    """

    failed: Callable[[Exception], None]
    timed: AbstractContextManager[None] = field(default_factory=nullcontext)

    def __enter__(self) -> None:
        self.timed.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.timed.__exit__(None, None, None)
        if not isinstance(error, Exception) or ends_the_run(error):
            return False
        self.failed(error)
        return True


def ends_the_run(error: BaseException) -> bool:
    """Say whether an error is not the candidate's: log or workers are lost, the disk is full, someone interrupts."""
    return not isinstance(error, Exception) or isinstance(error, StudyError | WorkersError) or is_disk_full(error)


def is_disk_full(error: BaseException | None) -> bool:
    """Say whether an error, or one that it came from, is that of a full disk; libraries word it differently."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in ("os error 28", "No space left on device", "disk is full")):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason(error: BaseException) -> str:
    """Return why something failed, in a line: the message, led by the error's type where it is not whet's own.

    >>> reason(IndexError("index 3 is out of bounds\\nmore")), reason(MemoryError())
    ('IndexError: index 3 is out of bounds', 'MemoryError')
    """
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = "" if isinstance(error, WhetError) else type(error).__name__
    return ": ".join(filter(None, (kind, first)))[:LONGEST] or type(error).__name__
