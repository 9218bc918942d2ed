"""What a fresh process that serves a file takes: time until its first answer, and memory at most."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware import standalone
from whet.hardware.elsewhere import Elsewhere
from whet.hardware.measure import alone

CALLS = 3
"""After how many calls the peak of memory is read: buffers that a runtime makes late are there by the second."""

Inputs = Mapping[str, tuple[Sequence[int], str]]
"""For each input, by name, its sizes and NumPy's name of its type."""


@dataclass(frozen=True)
class Fresh:
    """`peak_bytes` of resident memory after some calls; `cold_start_seconds` from opening the file to the first answer.

    The runtime was imported before the clock began: that takes the same time for every file.
    """

    peak_bytes: int
    cold_start_seconds: float


def served_fresh(artifact: Artifact, inputs: Inputs, calls: int = CALLS, machine: Elsewhere | None = None) -> Fresh:
    """Open `artifact` in a new process, call it on zeros, and return what that took.

    The process holds Python, NumPy and the runtime and nothing else, so small networks differ little: these take some
    100 MB. No other measurement runs meanwhile. The process is one of `machine`, where that is given.

    Raises: TargetError if the process fails, with the runtime's reason.
    """
    if machine is not None:
        return Fresh(*machine.served_fresh(artifact, inputs, calls))
    order = {
        "path": str(artifact.path.resolve()), "settings": artifact.settings, "calls": calls,
        "inputs": {name: [list(sizes), kind] for name, (sizes, kind) in inputs.items()},
    }  # fmt: skip
    # Without `-P` the script's folder comes first, and its `onnxruntime` is whet's.
    command = [sys.executable, "-P", str(standalone.__file__)]
    with alone():
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TargetError(f"a process that serves '{artifact.path}' under {artifact.settings} ended with {last}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Fresh(int(answer["peak_bytes"]), float(answer["cold_start_seconds"]))
