"""The peers' bench: each peer works in a process of its own, on the same work; this process judges the files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from whet.bench.peers.environment import environment, versions
from whet.bench.peers.work import Work
from whet.core.errors import WhetError, unknown
from whet.support.files import write_text

GRACE_SECONDS = 120.0
"""What a peer may take beyond its budget, for loading and for the file that it is writing."""


@dataclass(frozen=True)
class Effort:
    """How a peer's work went. `error` is the first line of why it failed; files delivered before that count."""

    peer: str
    seconds: float
    peak_memory_mb: float
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def found(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Return the folders of the peers by name, all of them by default."""
    peers = {p.parent.name: p.parent for p in sorted(folder.glob("*/adapter.py"))}
    if not peers:
        raise WhetError(f"'{folder}' holds no peers: expected {folder}/NAME/adapter.py.")
    for name in names:
        if name not in peers:
            raise unknown("peer", name, peers)
    return [peers[name] for name in names or peers]


def work_of(peer: Path, work: Work, install: bool, progress: Callable[[dict[str, Any]], None]) -> Effort:
    """Let one peer work; never raises for a peer that fails."""
    progress({"stage": f"{peer.name}: installing", "seconds_left": work.seconds})
    made = environment(peer, fresh=install)
    if made.python is None:
        return Effort(peer.name, 0.0, 0.0, f"not installed: {made.error}")
    out = Path(work.out)
    out.mkdir(parents=True, exist_ok=True)
    order = work.write(out / "work.json")
    progress({"stage": f"{peer.name}: working", "seconds_left": work.seconds})
    environ = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "PYTHONPATH": str(_package())}
    began = time.monotonic()
    with (out / "log.txt").open("w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [str(made.python), str((peer / "adapter.py").resolve()), str(order.resolve())],
            stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=out, start_new_session=True,
        )  # fmt: skip
        code, memory = _wait(child, work.seconds + GRACE_SECONDS)
    error = "" if code == 0 else _reason(code, out / "log.txt")
    return Effort(peer.name, time.monotonic() - began, memory, error, versions(made.python, peer))


def _package() -> Path:
    import whet

    return Path(whet.__file__).parent.parent


def _wait(child: subprocess.Popen[bytes], limit: float) -> tuple[int, float]:
    """Wait for a child, at most `limit` seconds; return its exit code and its peak memory in MB."""
    until, peak = time.monotonic() + limit, 0.0
    while (code := child.poll()) is None:
        peak = max(peak, peak_memory_mb(child.pid))
        if time.monotonic() > until:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return -signal.SIGKILL, peak
        time.sleep(0.1)
    return code, peak


def peak_memory_mb(process: int) -> float:
    """Return the most memory that a running process had; what it leaves behind begins at its parent's own."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def _reason(code: int, log: Path) -> str:
    """Return what a failed peer said last that looks like an error, in one line."""
    if code == -signal.SIGKILL:
        return "stopped: over its time"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line.split(":")[0] or line.startswith("error")]
    return ((telling or lines or ["said nothing"])[-1])[:200] if code > 0 else f"died of {signal.Signals(-code).name}"


def efforts(
    peers: Iterable[Path], template: Work, out: Path, install: bool, progress: Callable[[dict[str, Any]], None]
) -> dict[str, tuple[Effort, Work]]:
    """Let each peer work, one after the other; what is already done in `out` is not done again."""
    done: dict[str, tuple[Effort, Work]] = {}
    for peer in peers:
        work = Work(**{**asdict(template), "out": str((out / peer.name).resolve())})
        memo = Path(work.out) / "effort.json"
        if memo.exists():
            effort = Effort(**json.loads(memo.read_text(encoding="utf-8")))
        else:
            (Path(work.out) / "artifacts.jsonl").unlink(missing_ok=True)
            effort = work_of(peer, work, install, progress)
            write_text(memo, json.dumps(effort.to_dict(), indent=1))
        done[peer.name] = (effort, work)
    return done
