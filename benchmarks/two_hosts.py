"""One search over hosts that are network namespaces of this machine; each part is killed once. Needs root.

    python benchmarks/two_hosts.py [--requests 10000] [--out runs/two-hosts]

A Ray head with one processor is on the first host, a node with another on the second, `whet device serve` on the third
measures, and the search runs on the fourth. While it runs, requests that must be refused are sent to the device: with a
wrong token or none, too large, malformed. Then the device, the node in the middle of a training, and the head are
killed, once each, and started again; without a head the search ends, and the same command goes on.

The tables in the end say what was in the record when a part was killed, how much of that the finished study has, and
how the requests were answered. The exit code is 0 where nothing was lost, nothing got in and nothing crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from spoiled import ENDS_EARLY, REFUSED, TOKEN

DRIVER, HEAD, WORKER, BOARD = "whet-driver", "whet-head", "whet-worker", "whet-board"
HOSTS = {DRIVER: "10.77.0.1", HEAD: "10.77.0.2", WORKER: "10.77.0.3", BOARD: "10.77.0.4"}
BRIDGE, PORT, DEVICE_PORT = "whet-bridge", 10001, 8100
AWAY_SECONDS = 3.0
"""For how long the device and the node are away."""
BEGUN_SECONDS = 0.2
"""After how long a training has begun for sure."""
RAY = (sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())")
WHET = (sys.executable, "-m", "whet")
NO_ANSWER = "none"
"""A line that the device closes: what came in before is no request that has an answer."""
STATUSES = {
    "unauthorised": {"401", "400", "414", "431", "501", "505"},
    "oversized": {"413"},
    "malformed": {"400", "401", "404", "405", "409", "413", "414", "431", "501", "505", NO_ANSWER},
}
"""How each kind may be answered. What is no HTTP is told so before its token is looked at."""


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
        killed(host)
        ip("netns", "del", host, check=False)
        ip("link", "del", host, check=False)
    ip("link", "del", BRIDGE, check=False)


def on(host: str, *words: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Begin a command on a host; what it tells goes into a log, where there is one."""
    named = f'hostname {host}; exec "$@"'
    command = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", named, "sh", *words]
    return subprocess.Popen(command, stdout=log, stderr=log)


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
    """Have the third host measure."""
    served = ("device", "serve", "--host", "0.0.0.0", "--port", str(DEVICE_PORT), "--folder", str(folder / "kept"))
    with (folder / "device.log").open("ab") as log:
        on(BOARD, *WHET, *served, "--token-file", str(folder / "token"), log=log)


def running(host: str) -> list[int]:
    """Return the processes of a host."""
    found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


def killed(host: str) -> None:
    """Kill all that runs on a host."""
    for pid in running(host):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def trains(host: str) -> bool:
    """Say whether a training is in the middle there: Ray names the process after it."""
    for pid in running(host):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::train"):
                time.sleep(BEGUN_SECONDS)
                return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::train")
    return False


def finished(out: Path) -> list[str]:
    """Return the trials that the record of a search has by now, in order."""
    if not (out / "study.db").exists():
        return []
    with suppress(sqlite3.OperationalError), sqlite3.connect(f"file:{out / 'study.db'}?mode=ro", uri=True) as database:
        rows = database.execute("select value_json from trial_user_attributes where key = 'trial' order by trial_id")
        return [json.loads(text) for (text,) in rows]
    return []


def trained(out: Path) -> int:
    """Return how many of the finished trials were trained."""
    return sum(json.loads(trial)["samples"] > 0 for trial in finished(out))


@dataclass
class Story:
    """A search, what was killed while it ran, and what was in the record then."""

    out: Path
    command: tuple[str, ...]
    search: subprocess.Popen[bytes]
    kills: dict[str, list[str]] = field(default_factory=dict)

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait for something that comes while the search goes on; end the whole run where the search ends before."""
        while not is_so():
            if self.search.poll() is not None:
                sys.exit(f"two_hosts: the search ended with {self.search.returncode} before {what}")
            time.sleep(0.05)

    def more(self) -> None:
        """Wait until another trial is finished."""
        before = len(finished(self.out))
        self.until("it went on", lambda: len(finished(self.out)) > before)

    def kill(self, what: str, host: str) -> None:
        """Kill a host, and keep what is in the record by then."""
        self.kills[what] = finished(self.out)
        print(f"two_hosts: {what} is killed, {len(self.kills[what])} trials are finished", flush=True)
        killed(host)

    def lose_device(self, folder: Path) -> None:
        """Kill the device, and start it again."""
        self.kill("the device server", BOARD)
        time.sleep(AWAY_SECONDS)
        board(folder)
        self.more()

    def lose_worker(self) -> None:
        """Kill the node in the middle of a training, and have it join again."""
        self.until("the second host trained", lambda: trains(WORKER))
        self.kill("a worker, while it trained", WORKER)
        time.sleep(AWAY_SECONDS)
        node()
        self.more()

    def lose_head(self, folder: Path) -> None:
        """Kill the head after a training in the record; begin the cluster anew, and give the same command again."""
        self.until("a training", lambda: trained(self.out) > 0)
        self.kill("the head", HEAD)
        code = self.search.wait()
        print(f"two_hosts: without a head the search ended with {code}", flush=True)
        killed(WORKER)
        head(folder / "ray-again")
        node()
        self.search = on(DRIVER, *self.command)

    def kept(self) -> bool:
        """Print what the finished study has of each record, and say whether it has everything."""
        after, whole = set(finished(self.out)), len(self.kills) == 3
        print("\n| killed | finished by then | of these kept |\n|---|---|---|")
        for what, before in self.kills.items():
            held = sum(trial in after for trial in before)
            whole = whole and held == len(before) > 0
            print(f"| {what} | {len(before)} | {held} |")
        return whole


def answered(data: bytes, ends: bool) -> str:
    """Send a request on a line of its own and return the status of its answer."""
    with socket.create_connection((HOSTS[BOARD], DEVICE_PORT), timeout=60) as line, suppress(ConnectionError):
        with suppress(ConnectionError):  # a line that was closed in the middle may have an answer all the same
            line.sendall(data)
            if ends:
                line.shutdown(socket.SHUT_WR)
        told = line.recv(12)
        if told:
            return told[9:12].decode("ascii", "replace") if told.startswith(b"HTTP/1.1 ") else "400"
    return NO_ANSWER


def send(count: int) -> None:
    """Send so many requests, each kind in its turn, and print how each kind was answered, as JSON."""
    rng, found = random.Random(0), {kind: Counter[str]() for kind in REFUSED}
    kinds = [(kind, made) for kind, those in REFUSED.items() for made in those]
    for index in range(count):
        kind, made = kinds[index % len(kinds)]
        found[kind][answered(made(rng), made in ENDS_EARLY)] += 1
    print(json.dumps(found))


def refused(count: int, folder: Path) -> Callable[[], bool]:
    """Send requests while the search goes on; return what prints the answers and says whether all were refused."""
    before = running(BOARD)
    words = ("ip", "netns", "exec", DRIVER, sys.executable, __file__, "--send", str(count))
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    same = running(BOARD) == before
    crashes = (folder / "device.log").read_text().count("Traceback")

    def told() -> bool:
        print("\n| requests | sent | answers | got in |\n|---|---|---|---|")
        wrong = {kind: sum(n for s, n in each.items() if s not in STATUSES[kind]) for kind, each in found.items()}
        for kind, each in found.items():
            answers = ", ".join(f"{status}: {number}" for status, number in sorted(each.items()))
            print(f"| {kind} | {sum(each.values())} | {answers} | {wrong[kind]} |")
        print(f"\nThe device served on in the same process: {same}; errors in its log: {crashes}.")
        return same and not crashes and not any(wrong.values())

    return told


def stages(out: Path) -> dict[str, int]:
    """Return how many trials of each stage a study has."""
    return dict(Counter(json.loads(trial)["stage"] for trial in finished(out)))


def began(folder: Path, out: Path) -> Story:
    """Begin the cluster, the device and the search."""
    made()
    head(folder / "ray")
    node()
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    board(folder)
    words = ["--task", "digits", "--epochs", "3", "--trials", "4", "--max-drop", "2%", "--device-wait", "120"]
    words += ["--target", f"device://{HOSTS[BOARD]}:{DEVICE_PORT}", "--token-file", str(folder / "token")]
    command = (*WHET, "optimize", *words, "--out", str(out), "--workers", f"ray://{HOSTS[HEAD]}:{PORT}")
    return Story(out, command, on(DRIVER, *command, "--restart"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()) / "two-hosts")
    parser.add_argument("--requests", type=int, default=10_000, help="how many requests are sent that must be refused")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        return send(given.send)
    if os.geteuid():
        sys.exit("namespaces are made by root alone")
    folder = Path(tempfile.mkdtemp())
    os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")  # the driver's machine may be busy
    try:
        story = began(folder, given.out)
        story.until("a trial", lambda: bool(finished(given.out)))
        told = refused(given.requests, folder)
        story.lose_device(folder)
        story.lose_worker()
        story.lose_head(folder)
        code = story.search.wait()
        held = all([story.kept(), told(), code == 0])
        print(f"The search ended with {code}; trials: {stages(given.out)}. All holds: {held}.", flush=True)
        sys.exit(0 if held else 1)
    finally:
        unmade()


if __name__ == "__main__":
    main()
