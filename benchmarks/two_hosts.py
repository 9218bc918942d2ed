"""One search over two hosts, which are two network namespaces of this machine with names of their own. Needs root.

    python benchmarks/two_hosts.py [--device] [--kill] [--kill-head] [--out runs/two-hosts]

A Ray head with one processor is in the first, a node with another in the second, and the search in a third. With
`--device` files are measured on a fourth, by `whet device serve`; else the search measures. With `--kill` the node and
the device are killed once while the search runs, and started again. With `--kill-head` the head is killed after the
first finished trainings: the search ends, the cluster is begun anew, and the same command goes on; a trial that was in
the record is then looked for in what came of it. What is printed in the end says how many trainings each host did, and
how many trials there are of each stage.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

DRIVER, HEAD, WORKER, BOARD = "whet-driver", "whet-head", "whet-worker", "whet-board"
HOSTS = {DRIVER: "10.77.0.1", HEAD: "10.77.0.2", WORKER: "10.77.0.3", BOARD: "10.77.0.4"}
BRIDGE, PORT, DEVICE_PORT = "whet-bridge", 10001, 8100
KILLED_SECONDS, AWAY_SECONDS = (25.0, 45.0), 3.0
"""When the device and the node are killed, and for how long each is away."""
RAY = (sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())")
WHET = (sys.executable, "-m", "whet")


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


def on(host: str, *words: str) -> subprocess.Popen[bytes]:
    """Begin a command on a host."""
    named = f'hostname {host}; exec "$@"'
    return subprocess.Popen(["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", named, "sh", *words])


def head(folder: Path) -> None:
    """Begin the cluster on the first host."""
    words = ("--port=6379", f"--ray-client-server-port={PORT}", "--include-dashboard=false", f"--temp-dir={folder}")
    if on(HEAD, *RAY, "start", "--head", "--num-cpus=1", f"--node-ip-address={HOSTS[HEAD]}", *words).wait():
        sys.exit("two_hosts: the cluster does not begin")


def node() -> None:
    """Have the second host join the cluster."""
    address = f"--address={HOSTS[HEAD]}:6379"
    if on(WORKER, *RAY, "start", address, "--num-cpus=1", f"--node-ip-address={HOSTS[WORKER]}").wait():
        sys.exit("two_hosts: the second host does not join")


def board(folder: Path) -> None:
    """Have the fourth host measure."""
    served = ("device", "serve", "--host", "0.0.0.0", "--port", str(DEVICE_PORT))
    on(BOARD, *WHET, *served, "--token-file", str(folder / "token"), "--folder", str(folder / "kept"))


def killed(host: str) -> None:
    """Kill all that runs on a host."""
    found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout.split()
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    print(f"two_hosts: {host} was killed", flush=True)


def disturb(search: subprocess.Popen[bytes], with_device: bool, folder: Path) -> None:
    """Kill the device and the node once each, and start them again, while the search runs."""
    steps = [(BOARD, lambda: board(folder))] * with_device + [(WORKER, node)]
    began = time.monotonic()
    for (host, again), due in zip(steps, KILLED_SECONDS, strict=False):
        while search.poll() is None and time.monotonic() - began < due:
            time.sleep(0.2)
        if search.poll() is None:
            killed(host)
            time.sleep(AWAY_SECONDS)
            again()


def finished(out: Path) -> list[str]:
    """Return the trials that the record of a search has by now, in order."""
    if not (out / "study.db").exists():
        return []
    with suppress(sqlite3.OperationalError), sqlite3.connect(f"file:{out / 'study.db'}?mode=ro", uri=True) as database:
        rows = database.execute("select value_json from trial_user_attributes where key = 'trial' order by trial_id")
        return [json.loads(text) for (text,) in rows]
    return []


def trained(trials: list[str]) -> int:
    """Return how many of the trials were trained."""
    return sum(json.loads(trial)["samples"] > 0 for trial in trials)


def behead(search: subprocess.Popen[bytes], folder: Path, out: Path) -> list[str]:
    """Kill the head once some trainings are in the record, and begin the cluster anew when the search has ended.

    Return the trials that were finished by then.
    """
    while search.poll() is None and trained(finished(out)) < 2:
        time.sleep(0.2)
    killed(HEAD)
    code, before = search.wait(), finished(out)
    print(f"two_hosts: the search ended with {code}, {len(before)} trials are finished", flush=True)
    killed(WORKER)
    head(folder / "ray-again")
    node()
    return before


def stages(out: Path) -> dict[str, int]:
    """Return how many trials of each stage a study has."""
    from whet.flow.folder import recorded

    return dict(Counter(trial["stage"] for trial in recorded(out, "report")["trials"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()) / "two-hosts")
    parser.add_argument("--device", action="store_true", help="measure on a fourth host")
    parser.add_argument("--kill", action="store_true", help="kill the node and the device once each")
    parser.add_argument("--kill-head", action="store_true", help="kill the cluster's head, and go on with another")
    given = parser.parse_args()
    if os.geteuid():
        sys.exit("namespaces are made by root alone")
    folder = Path(tempfile.mkdtemp())
    os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        made()
        head(folder / "ray")
        node()
        words = ["--task", "digits", "--epochs", "3", "--trials", "4", "--max-drop", "2%"]
        if given.device:
            board(folder)
            while not (folder / "token").exists():  # the device makes it
                time.sleep(0.1)
            address = f"device://{HOSTS[BOARD]}:{DEVICE_PORT}"
            words += ["--target", address, "--token-file", str(folder / "token"), "--device-wait", "120"]
        cluster = f"ray://{HOSTS[HEAD]}:{PORT}"
        command = (*WHET, "optimize", *words, "--out", str(given.out), "--workers", cluster)
        search = on(DRIVER, *command, "--restart")
        if given.kill:
            disturb(search, given.device, folder)
        if given.kill_head:
            before = behead(search, folder, given.out)
            search = on(DRIVER, *command)
        code = search.wait()
        if given.kill_head:
            after = finished(given.out)
            print(f"two_hosts: {sum(t in after for t in before)} of {len(before)} finished trials are kept", flush=True)
        print(f"two_hosts: ended with {code}; trials: {stages(given.out)}", flush=True)
        sys.exit(code)
    finally:
        unmade()


if __name__ == "__main__":
    main()
