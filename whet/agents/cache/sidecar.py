"""The process beside a cache: it serves a policy's ONNX file behind a Unix socket.

    python -m whet.agents.cache.sidecar model.onnx --socket cache.sock

It loads NumPy and ONNX Runtime, not torch. A connection has one question at a time; several caches may connect.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from whet.agents.cache.eviction import best
from whet.agents.cache.messages import ANSWER, HEAD, MOST_CANDIDATES, size_bytes, unpacked
from whet.agents.cache.traces import Array
from whet.core.errors import TargetError

Scores = Callable[[Array], Array]
"""What gives one score a candidate, (K,), for features (K, 6)."""


def scores_of_file(path: Path) -> Scores:
    """Return a policy's scores by ONNX Runtime, in one thread; it has run once."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape

    def scores(features: Array) -> Array:
        found: Array = session.run(None, {given: features[None]})[0][0]
        return found

    scores(np.zeros(shape[1:], np.float32))
    return scores


def answered(data: bytes, scores: Scores) -> bytes:
    """Return the answer to a question; its mask is 0 where scores are not finite, so that the cache turns to LRU."""
    asked = unpacked(data)
    q = asked.question
    found = scores(q.features)
    finite = found.shape == q.sizes_bytes.shape and bool(np.isfinite(found).all())
    return ANSWER.pack(asked.number, best(found, q.sizes_bytes) if finite else 0)


class Connection:
    """One cache's end: bytes that came, until they are a whole question."""

    def __init__(self, end: socket.socket, scores: Scores) -> None:
        self.end, self.scores, self.came = end, scores, b""

    def read(self) -> bool:
        """Take what came and answer what is whole; False where the other end is gone or says what is no question."""
        try:
            came = self.end.recv(65536)
            self.came += came
            while len(self.came) >= HEAD.size:
                candidates = HEAD.unpack_from(self.came)[1]
                if not 0 < candidates <= MOST_CANDIDATES:
                    return False
                length = size_bytes(candidates)
                if len(self.came) < length:
                    break
                data, self.came = self.came[:length], self.came[length:]
                self.end.sendall(answered(data, self.scores))
        except OSError:
            return False
        return bool(came)


def serve(scores: Scores, path: Path, ready: Callable[[], None] = lambda: None) -> None:
    """Answer at a Unix socket until the process ends; a socket that another one left behind is replaced."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, selectors.DefaultSelector() as waiting:
        listening.bind(str(path))
        listening.listen(16)
        waiting.register(listening, selectors.EVENT_READ)
        ready()
        while True:
            for key, _ in waiting.select():
                if key.data is None:
                    end = listening.accept()[0]
                    waiting.register(end, selectors.EVENT_READ, Connection(end, scores))
                elif not key.data.read():
                    waiting.unregister(key.data.end)
                    key.data.end.close()


@contextmanager
def started(model: Path, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that serves an ONNX file at a socket, and end it; within, it is ready.

    Raises: TargetError where it ends before it is.
    """
    words = [sys.executable, "-m", "whet.agents.cache.sidecar", str(model), "--socket", str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise TargetError(f"the process that was to serve '{model}' ended before it was ready.")
            yield process
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the file that is named; says "ready" once it answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--socket", type=Path, required=True)
    asked = parser.parse_args(arguments)
    serve(scores_of_file(asked.model), asked.socket, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
