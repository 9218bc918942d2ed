"""Calls a delivered `serve.py` for another process: NumPy, the runtime and nothing of whet.

    python -I serve_loop.py FOLDER

A message is its length in eight bytes and an `.npz` of arrays named `0`, `1`, ...: inputs on standard input, outputs on
standard output. The first message out, before any input, is the text of what was imported that serving does not need.
"""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

LENGTH = struct.Struct("<Q")
FOREIGN = ("torch", "whet", "onnx")


def send(stream: IO[bytes], arrays: Sequence[Any]) -> None:
    """Write one message; arrays may have any shape."""
    packed = io.BytesIO()
    np.savez(packed, **{str(i): array for i, array in enumerate(arrays)})
    stream.write(LENGTH.pack(packed.tell()) + packed.getvalue())
    stream.flush()


def receive(stream: IO[bytes]) -> list[Any] | None:
    """Return the arrays of the next message, of any shape, or None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    with np.load(io.BytesIO(stream.read(LENGTH.unpack(head)[0])), allow_pickle=False) as file:
        return [file[str(i)] for i in range(len(file.files))]


def serve_function(folder: Path) -> Any:
    """Return the function `serve` of the `serve.py` in a folder."""
    spec = importlib.util.spec_from_file_location("serve", folder / "serve.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.serve


def main(folder: Path, orders: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each message until there are no more."""
    serve = serve_function(folder)
    send(answers, [np.array(" ".join(name for name in FOREIGN if name in sys.modules))])
    while (inputs := receive(orders)) is not None:
        send(answers, serve(*inputs))


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints must not pass for an answer
    main(Path(sys.argv[1]), sys.stdin.buffer, replies)
