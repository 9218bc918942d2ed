"""`peak_memory_bytes`: what a fresh process that serves a file holds of memory at most."""

from __future__ import annotations

from whet.core.target import Artifact
from whet.hardware.elsewhere import Elsewhere
from whet.hardware.fresh import CALLS, Inputs, served_fresh


def peak_memory_bytes(artifact: Artifact, inputs: Inputs, calls: int = CALLS, machine: Elsewhere | None = None) -> int:
    """Return the peak of resident memory, in bytes, of a new process that opens `artifact` and calls it on zeros.

    The process is one of `machine`, where that is given.

    Raises: TargetError if the process fails, with the runtime's reason.
    """
    return served_fresh(artifact, inputs, calls, machine).peak_bytes
