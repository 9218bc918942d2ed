"""A search whose files are measured on a device, which is killed in the middle and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from served import TOKEN, serving, token_file
from torch import nn
from torch.nn import functional

import whet
from whet.core.errors import StudyError
from whet.core.study import DATABASE
from whet.core.target import Artifact
from whet.device import server as server_module
from whet.device.address import WAIT, DeviceGone
from whet.device.serving import made_server
from whet.flow.failures import ends_the_run
from whet.flow.optimize import optimize
from whet.flow.timing import Timing
from whet.hardware.device import fingerprint
from whet.hardware.race import race
from whet.hardware.targets import every_setting, setting_name

ROOT = Path(__file__).parents[2]
BUDGET = "10s"
DEADLINE = 120.0
LEAST = 1
"""After how many trials the device is killed; on a busy machine there is no time for more."""
OTHER = replace(fingerprint(), cpu="a board", memory_gib=1)


# -- what a study knows of its device ----------------------------------------------------------------------------------


@pytest.fixture
def unsearched(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["whet.flow.optimize"]
    monkeypatch.setattr(module, "_search", lambda evaluator, plan: None)
    monkeypatch.setattr(module, "deliver", lambda evaluator: evaluator)


def begun(out: Path, port: int) -> Any:
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    net = whet.lift(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), x[:2], name="tiny")
    data = [(x, x[:, :3].argmax(1))]
    task = whet.Task("tiny", data, data, functional.cross_entropy, whet.accuracy)
    return optimize(net, task, out=out, max_drop="1%", budget="9s", target=f"device://127.0.0.1:{port}", progress=False)


@pytest.mark.usefixtures("unsearched")
def test_a_study_goes_on_at_another_address_and_on_no_other_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_file(tmp_path, monkeypatch)
    monkeypatch.setattr(server_module, "fingerprint", lambda: OTHER)
    with serving(tmp_path / "a") as server:
        evaluator = begun(tmp_path / "out", server.server_port)
        assert evaluator.recorder.device == OTHER
        evaluator.study.remember("here", 1)
        told: list[Any] = []
        evaluator.run.progress = told.append
        evaluator.request.target.elsewhere.client.told("it is away")
        assert told[0]["stage"] == "it is away"
    monkeypatch.setattr(server_module, "fingerprint", lambda: replace(OTHER, memory_gib=2))
    with serving(tmp_path / "b") as server:
        assert begun(tmp_path / "out", server.server_port).study.recall("here") == 1
    versions = tuple((name, "0.1" if name == "onnxruntime" else number) for name, number in OTHER.versions)
    for other, said in (
        (replace(OTHER, versions=versions), "device onnxruntime was '.*', now '0.1'"),
        (replace(OTHER, system="Linux aarch64"), "device system was '.*', now 'Linux aarch64'"),
    ):
        monkeypatch.setattr(server_module, "fingerprint", lambda other=other: other)
        with serving(tmp_path / "b") as server, pytest.raises(StudyError, match=f"{said}.*--restart"):
            begun(tmp_path / "out", server.server_port)


@pytest.mark.usefixtures("unsearched")
def test_a_search_ends_where_its_device_stays_away_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_file(tmp_path, monkeypatch)
    monkeypatch.setenv(WAIT, "0")
    search = lambda evaluator, plan: (server.shutdown(), server.server_close(), evaluator.prepare())  # noqa: E731
    monkeypatch.setattr(sys.modules["whet.flow.optimize"], "_search", search)
    with made_server("127.0.0.1", 0, TOKEN, tmp_path / "a") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DeviceGone, match=f":{server.server_port}' does not answer.*goes on") as raised:
            begun(tmp_path / "out", server.server_port)
    assert ends_the_run(raised.value)
    monkeypatch.setattr(sys.modules["whet.flow.optimize"], "_search", lambda evaluator, plan: None)
    with serving(tmp_path / "a") as server:
        assert begun(tmp_path / "out", server.server_port).study.trials == []


class Going:
    """A target on a device that is gone once the second file is to be opened."""

    name = "going"

    def all_settings(self) -> list[dict[str, Any]]:
        return every_setting()

    def open(self, artifact: Artifact, batch: int) -> Any:
        if artifact.path.name == "second.onnx":
            raise DeviceGone("gone")
        return lambda *inputs: None


def test_a_device_that_is_gone_is_not_taken_for_a_file_that_does_not_open() -> None:
    x, target, second = torch.zeros(1, 8), Going(), Path("second.onnx")
    net = whet.lift(nn.Sequential(nn.Linear(8, 3)).eval(), x, name="tiny")
    timing = Timing(target, net, Path("first.onnx"), {setting_name(s): 1.0 for s in every_setting()}, {})  # type: ignore[arg-type]
    with pytest.raises(DeviceGone):
        timing({"second": second}, 0.1)
    files = {name: (Path(f"{name}.onnx"), every_setting()) for name in ("first", "second")}
    with pytest.raises(DeviceGone):
        race(target, [x.numpy()], files, {"first"}, 0.1)  # type: ignore[arg-type]


# -- a device in another network ---------------------------------------------------------------------------------------


def run(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@contextmanager
def namespace(name: str, here: str, there: str) -> Iterator[list[str]]:
    """Yield the words that run a command in another network, joined with this one by a line with these addresses."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("ip") or not run("ip", "netns", "add", name):
        pytest.skip("network namespaces are not allowed here")
    inside = ["ip", "netns", "exec", name]
    try:
        made = (
            run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
            and run("ip", "addr", "add", f"{here}/30", "dev", f"{name}a")
            and run("ip", "link", "set", f"{name}a", "up")
            and run(*inside, "ip", "addr", "add", f"{there}/30", "dev", f"{name}b")
            and run(*inside, "ip", "link", "set", f"{name}b", "up")
        )
        if not made:
            pytest.skip("a line between network namespaces is not allowed here")
        yield inside
    finally:
        run("ip", "link", "del", f"{name}a")
        run("ip", "netns", "del", name)


def started(inside: Sequence[str], folder: Path, host: str) -> subprocess.Popen[str]:
    """Start a server on one processor, and wait until it listens."""
    options = [
        "--host",
        host,
        "--port",
        "8100",
        "--token-file",
        str(folder / "token"),
        "--folder",
        str(folder / "kept"),
    ]
    cpu = str(min(os.sched_getaffinity(0)))
    child = subprocess.Popen(
        [*inside, "taskset", "-c", cpu, sys.executable, "-m", "whet", "device", "serve", *options],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None and "measures" in child.stdout.readline()
    return child


def finished(out: Path) -> list[str]:
    """Return the records of the trials of a study that may be going on."""
    if not (out / DATABASE).exists():
        return []
    with closing(sqlite3.connect(f"file:{out / DATABASE}?mode=ro", uri=True, timeout=5)) as database:
        try:
            rows = database.execute(
                "select value_json from trial_user_attributes where key = 'trial' order by trial_id"
            )
            return [json.loads(row[0]) for row in rows]
        except sqlite3.OperationalError:
            return []


@pytest.mark.slow
def test_a_search_over_a_network_outlives_its_device(tmp_path: Path) -> None:
    out, where = tmp_path / "out", "10.231.77.2"
    words = ["--target", f"device://{where}", "--token-file", str(tmp_path / "token"), "--device-wait", "60s"]
    options = ["--task", "digits", "--no-training", "--budget", BUDGET, "--max-drop", "2%", "--out", str(out)]
    command = [sys.executable, "-m", "whet", "optimize", *options, *words, "--json"]
    with namespace(f"whet{os.getpid() % 10000}", "10.231.77.1", where) as inside:
        server = started(inside, tmp_path, where)
        search = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            until = time.monotonic() + DEADLINE
            while len(before := finished(out)) < LEAST and search.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.05)
            server.send_signal(signal.SIGKILL)
            server.wait()
            server = started(inside, tmp_path, where)
            told, progress = search.communicate(timeout=DEADLINE)
        finally:
            search.kill(), server.kill()
            search.wait(), server.wait()
    assert search.returncode in (0, 1), progress
    assert f"device://{where}:8100 does not answer (" in progress
    records = finished(out)
    assert len(before) >= LEAST and records[: len(before)] == before
    failed = [trial["note"] for trial in map(json.loads, records) if trial["stage"] == "failed"]
    assert not failed
    front = json.loads(told)
    manifest = json.loads((out / "front" / "0" / "manifest.json").read_text())
    assert front["device"] == manifest["device"] and manifest["device"]["cores"] == 1
    device = {figure["device"] for figure in manifest["figures"].values()}
    assert device == {trial["device"] for trial in map(json.loads, records)} and len(device) == 1
    if fingerprint().cores > 1:
        assert device != {fingerprint().id}
    assert f"at device://{where}:8100" in manifest["made"]["machines"]["scored"]
    assert manifest["made"]["machines"]["trained"] == fingerprint().describe()
