"""Processes of a pool: they compute, they are made ready, and none outlives the process that began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from whet.hardware.workers import workers

OWNER = """
import time
from whet.hardware.workers import workers

if __name__ == "__main__":
    with workers(2) as pool:
        for _ in range(2):
            pool.submit(time.sleep, 600)
        print(*pool._processes, flush=True)
        time.sleep(600)
"""


def test_each_process_is_made_ready_before_it_computes() -> None:
    with workers(1, os.putenv, "WHET_READY", "yes") as pool:
        assert pool.submit(os.popen, "true").exception() is not None  # what cannot be sent back is said
        assert pool.submit(subprocess.getoutput, "echo $WHET_READY").result() == "yes"


def test_processes_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        children = [int(number) for number in owner.stdout.readline().split()]
        assert len(children) == 2 and all(map(_runs, children))
        owner.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while any(map(_runs, children)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(_runs, children))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
