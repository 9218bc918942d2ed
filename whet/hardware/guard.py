"""`Guarded`: a target that opens each file in a child process first, as a runtime that crashes takes its own along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

import whet
from whet.core.errors import TargetError, WhetError
from whet.core.net import Net
from whet.core.space import Decision, Space
from whet.core.target import Artifact, Session, Target
from whet.hardware.elsewhere import Elsewhere, machine_of


class Guarded:
    """The target `inner`, whose `open` fails with a clear error where the runtime would kill the process.

    A child process opens the file with the same settings and batch and runs it once, on zeros; only then is it opened
    here. The child lives on and takes the next file; one that dies is replaced. Each file, as it is on disk, is tried
    once per setting and batch. What a target opens on another machine is guarded there.
    """

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self._child: subprocess.Popen[str] | None = None
        self._tried: dict[tuple[Any, ...], str | None] = {}

    @property
    def elsewhere(self) -> Elsewhere | None:
        """The machine that the target inside measures on; None for this one."""
        return machine_of(self.inner)

    @property
    def name(self) -> str:
        """The name of the target inside."""
        return self.inner.name

    @property
    def alignment(self) -> int:
        """The number of channels that layers should be a multiple of, as of the target inside."""
        return self.inner.alignment

    @property
    def weight_bits(self) -> int:
        """Bits of the integer weights that sums of the target inside are exact with."""
        return self.inner.weight_bits

    def kernels(self) -> tuple[str, ...]:
        """Return the integers that the target inside loads weights of."""
        return self.inner.kernels()

    def space(self) -> Space:
        """Return the choices of the target inside."""
        return self.inner.space()

    def settings(self, decision: Decision) -> dict[str, Any]:
        """Return what a decision means to the target inside: runtime, precision, threads."""
        return self.inner.settings(decision)

    def all_settings(self) -> list[dict[str, Any]]:
        """Return every setting of the target inside."""
        return self.inner.all_settings()

    def save(self, net: Net, folder: Path) -> Path:
        """Write the model file as the target inside does, and return its path."""
        return self.inner.save(net, folder)

    def begin(self) -> None:
        """Start the child process before the first file: it loads the runtimes for seconds, meanwhile others work."""
        if self.elsewhere is None and self._child is None:
            self._child = _start()

    def open(self, artifact: Artifact, batch: int, shapes: Mapping[str, Sequence[int]] | None = None) -> Session:
        """Return the session, or raise what `inner.open` does, and TargetError where the runtime crashes."""
        if self.elsewhere is None and artifact.path.exists():
            stat = artifact.path.stat()
            order = {
                "path": str(artifact.path.resolve()), "settings": artifact.settings, "batch": batch,
                "shapes": {name: list(sizes) for name, sizes in shapes.items()} if shapes is not None else None,
            }  # fmt: skip
            key = (stat.st_mtime_ns, stat.st_size, json.dumps(order))
            if key not in self._tried:
                self._tried[key] = self._crash(order)
            if self._tried[key]:
                raise TargetError(f"'{artifact.path}' under {artifact.settings}: {self._tried[key]}.")
        return self.inner.open(artifact, batch, shapes)

    def _crash(self, order: Mapping[str, Any]) -> str | None:
        """Return how the child died of a file, or None."""
        if self._child is None or self._child.poll() is not None:
            self._child = _start()
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(order) + "\n")
            child.stdin.flush()
            answered = child.stdout.readline() == "tried\n"
        except BrokenPipeError:
            answered = False
        except BaseException:  # Ctrl-C: its answer, when it came, would be taken for that to the next order
            self._abandon()
            raise
        if answered:
            return None
        code = child.wait()
        self._child = None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the runtime crashed ({how}) when it was tried in a child process"

    def _abandon(self) -> None:
        """Kill the child process in the middle of what it does."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def close(self) -> None:
        """End the child process; the next `open` starts another."""
        if self._child is not None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            self._child.stdout.close()
            self._child.wait()
            self._child = None


def _start() -> subprocess.Popen[str]:
    package = str(Path(whet.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "whet.hardware.guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is for the parent to handle
    )  # fmt: skip


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Try each ordered file until the parent is gone; a file that fails in an orderly way is the parent's to report."""
    from whet.hardware import targets

    target = targets.get("cpu")
    for name in target.runtimes:
        targets.RUNTIMES[name].load()
    for line in orders:
        order = json.loads(line)
        try:
            session = target.open(Artifact(Path(order["path"]), order["settings"]), order["batch"], order["shapes"])
            session(*(np.zeros_like(buffer) for buffer in getattr(session, "bound", ())))
        except WhetError:
            pass
        try:
            answers.write("tried\n")
            answers.flush()
        except BrokenPipeError:  # the parent is gone
            os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle, also where the whole group gets it
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a runtime prints must not pass for an answer
    serve(sys.stdin, replies)
