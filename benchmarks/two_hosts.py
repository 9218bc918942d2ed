"""One search over two hosts, which are two network namespaces of this machine with names of their own. Needs root.

    python benchmarks/two_hosts.py [--out runs/two-hosts]

A Ray head with one processor is in the first, a node with another in the second, and the search, which measures, in a
third. What is printed in the end says how many trainings each host did.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

DRIVER, HEAD, WORKER = "whet-driver", "whet-head", "whet-worker"
HOSTS = {DRIVER: "10.77.0.1", HEAD: "10.77.0.2", WORKER: "10.77.0.3"}
BRIDGE, PORT = "whet-bridge", 10001
RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


def made() -> None:
    """Make a namespace for each host and a bridge between them, in place of those that a killed run left."""
    unmade()
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("link", "set", BRIDGE, "up")
    for host, address in HOSTS.items():
        ip("netns", "add", host)
        ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("link", "set", host, "master", BRIDGE, "up")
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", host, "link", "set", device, "up")


def unmade() -> None:
    """End what runs on the hosts, and take them away."""
    for host in HOSTS:
        found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout.split()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        ip("netns", "del", host, check=False)
        ip("link", "del", host, check=False)
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
        on(HEAD, *ray, "start", "--head", "--num-cpus=1", f"--node-ip-address={HOSTS[HEAD]}", *at_head,
           f"--temp-dir={sessions}")  # fmt: skip
        on(WORKER, *ray, "start", f"--address={HOSTS[HEAD]}:6379", "--num-cpus=1",
           f"--node-ip-address={HOSTS[WORKER]}")  # fmt: skip
        words = ["--task", "digits", "--epochs", "3", "--trials", "4", "--max-drop", "2%", "--restart", "--out"]
        search = (sys.executable, "-m", "whet", "optimize", *words, str(out))
        done = on(DRIVER, *search, "--workers", f"ray://{HOSTS[HEAD]}:{PORT}")
        sys.exit(done.returncode)
    finally:
        unmade()


if __name__ == "__main__":
    main()
