"""One search over two hosts, which are two network namespaces of this machine with names of their own. Needs root.

    python benchmarks/two_hosts.py [--out runs/two-hosts]

A Ray head with one processor is in the first, a node with another in the second, and the search, which measures, in a
third. What is printed in the end says how many trainings each host did.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HOSTS = {"driver": "10.77.0.1", "head": "10.77.0.2", "worker": "10.77.0.3"}
BRIDGE, PORT = "whet-bridge", 10001
RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


def made() -> None:
    """Make a namespace for each host and a bridge between them."""
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("link", "set", BRIDGE, "up")
    for host, address in HOSTS.items():
        ip("netns", "add", host)
        ip("link", "add", f"w-{host}", "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("link", "set", f"w-{host}", "master", BRIDGE, "up")
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", host, "link", "set", device, "up")


def unmade() -> None:
    for host in HOSTS:
        ip("netns", "del", host, check=False)
    ip("link", "del", BRIDGE, check=False)


def on(host: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command on a host."""
    named = f'hostname {host}; exec "$@"'
    return subprocess.run(["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", named, "sh", *words])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()) / "two-hosts")
    out = parser.parse_args().out
    if os.geteuid():
        sys.exit("namespaces are made by root alone")
    ray = sys.executable, "-c", RAY
    sessions = Path(tempfile.mkdtemp())
    os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
    try:
        made()
        at_head = ("--port=6379", f"--ray-client-server-port={PORT}", "--include-dashboard=false")
        on("head", *ray, "start", "--head", "--num-cpus=1", f"--node-ip-address={HOSTS['head']}", *at_head,
           f"--temp-dir={sessions}")  # fmt: skip
        on("worker", *ray, "start", f"--address={HOSTS['head']}:6379", "--num-cpus=1",
           f"--node-ip-address={HOSTS['worker']}")  # fmt: skip
        words = ["--task", "digits", "--epochs", "3", "--trials", "4", "--max-drop", "2%", "--restart", "--out"]
        done = on(
            "driver",
            sys.executable,
            "-m",
            "whet",
            "optimize",
            *words,
            str(out),
            "--workers",
            f"ray://{HOSTS['head']}:{PORT}",
        )
        sys.exit(done.returncode)
    finally:
        for pid in pids_of(sessions):
            os.kill(pid, 15)
        unmade()


def pids_of(sessions: Path) -> list[int]:
    """Return the processes of the Ray whose files are in a folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and str(sessions).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


if __name__ == "__main__":
    main()
