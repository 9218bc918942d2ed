"""`whet device serve` and `info`, and the options of verbs that measure on a device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from served import TOKEN, model, serving
from typer.testing import CliRunner

from whet.cli import device as module
from whet.cli.main import app
from whet.core.errors import WhetError
from whet.device import server as server_module
from whet.device.address import TOKEN_FILE, WAIT, DeviceError
from whet.hardware.device import fingerprint

OTHER = replace(fingerprint(), cpu="a board")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(server_module, "fingerprint", lambda: OTHER)
    monkeypatch.setattr(os, "environ", {**os.environ})
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text(TOKEN)
    with serving(tmp_path / "store") as server:
        yield f"device://127.0.0.1:{server.server_port}"


def test_info_tells_what_a_device_is(address: str, tmp_path: Path) -> None:
    words = ["device", "info", address, "--token-file", str(tmp_path / "token")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for text in ("a board", f"openvino {dict(OTHER.versions)['openvino']}", "idle, 0 of at most 8 wait", "0 of 1,000"):
        assert text in done.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert found["address"] == address and found["device"] == OTHER.to_dict() and TOKEN not in str(found)


def test_measure_and_check_have_the_devices_figures(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.verdict.check.PROCESSES", 1)
    path, token = str(model(tmp_path / "m.onnx")), ["--token-file", str(tmp_path / "token")]
    short = ["--seconds", "0.1", "--target", f"{address}/onnxruntime-cpu", "--threads", "1", *token, "--json"]
    one = json.loads(CliRunner().invoke(app, ["measure", path, *short]).output)
    assert one["device"]["cpu"] == "a board" and {s["device"] for s in one["settings"]} == {OTHER.id}
    two = json.loads(CliRunner().invoke(app, ["measure", path, path, *short]).output)
    assert two["device"]["cpu"] == "a board" and {s["device"] for s in two["files"]} == {OTHER.id}
    done = CliRunner().invoke(app, ["check", path, "--p99", "9s", "--max-memory", "9GB", *short, "--device-wait", "5s"])
    verdict = json.loads(done.output)
    assert done.exit_code == 0 and verdict["device"]["cpu"] == "a board" and len(verdict["limits"]) == 2
    assert os.environ[WAIT] == "5" and os.environ[TOKEN_FILE] == token[1]
    with pytest.raises(WhetError, match="device_wait must be a duration such as 90s, 10min; got 'soon'"):
        CliRunner().invoke(app, ["measure", path, *short, "--device-wait", "soon"], catch_exceptions=False)


def test_serve_makes_a_token_tells_its_address_and_ends_when_told_to(tmp_path: Path) -> None:
    words = ["device", "serve", "--token-file", "token", "--port", "0", "--folder", "store"]
    child = subprocess.Popen(
        [sys.executable, "-m", "whet", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])},
    )  # fmt: skip
    assert child.stdout is not None
    line = child.stdout.readline()
    where = line.split()[0]
    assert line.endswith("measures; Ctrl-C ends it\n") and where.startswith("device://127.0.0.1:")
    done = CliRunner().invoke(app, ["device", "info", where, "--token-file", str(tmp_path / "token"), "--json"])
    assert json.loads(done.output)["kept"] == {"files": 0, "bytes": 0}
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=20)
    assert child.returncode == 0 and "a new token is in 'token': copy that file" in told
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    with pytest.raises(DeviceError, match="does not answer"):
        CliRunner().invoke(
            app, ["device", "info", where, "--token-file", str(tmp_path / "token")], catch_exceptions=False
        )
