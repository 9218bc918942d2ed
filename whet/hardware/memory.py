"""`peak_memory_bytes`: what a fresh process that serves a file holds of memory at most."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware import standalone

CALLS = 3
"""After how many calls the peak is read: buffers that a runtime makes late are there by the second."""


def peak_memory_bytes(artifact: Artifact, inputs: Mapping[str, tuple[Sequence[int], str]], calls: int = CALLS) -> int:
    """Return the peak of resident memory, in bytes, of a new process that opens `artifact` and calls it on zeros.

    The process holds Python, NumPy and the runtime and nothing else, so small networks differ little: these take some
    100 MB. `inputs` has for each input its sizes and NumPy's name of its type.

    Raises: TargetError if the process fails, with the runtime's reason.
    """
    order = {
        "path": str(artifact.path.resolve()), "settings": artifact.settings, "calls": calls,
        "inputs": {name: [list(sizes), kind] for name, (sizes, kind) in inputs.items()},
    }  # fmt: skip
    # Without `-P` the script's folder comes first, and its `onnxruntime` is whet's.
    command = [sys.executable, "-P", str(standalone.__file__)]
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TargetError(f"a process that serves '{artifact.path}' under {artifact.settings} ended with {last}")
    return int(json.loads(done.stdout.strip().splitlines()[-1])["peak_bytes"])
