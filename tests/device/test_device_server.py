"""What the server refuses, how it says so, and that it goes on whatever comes."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import inputs, model, remote_of, serving
from spoiled import CALL, HASH, KINDS, SETTINGS, TOKEN, request

from whet.core.target import Artifact
from whet.device import server as module
from whet.device import work
from whet.device.server import DeviceServer, Handler
from whet.device.store import Room
from whet.hardware.measure import measure


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DeviceServer]:
    with serving(tmp_path / "store", room=Room(each=10**6)) as found:
        yield found


def asked(
    server: DeviceServer, method: str, path: str, body: bytes | None = None, token: str | None = TOKEN, **more: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, JSON and headers of the answer to a request."""
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    line.request(method, path, body, {**headers, **more})
    response = line.getresponse()
    found = response.status, json.loads(response.read() or b"{}"), dict(response.getheaders())
    line.close()
    return found


def test_whoever_has_no_token_learns_nothing(server: DeviceServer) -> None:
    wanted = asked(server, "GET", "/v1/info", token=None)
    assert wanted[0] == 401 and wanted[2]["WWW-Authenticate"] == "Bearer" and wanted[2]["Server"] == "whet"
    for token in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 20):
        for method, path in (
            ("GET", "/v1/info"),
            ("PUT", f"/v1/files/{HASH}"),
            ("POST", "/v1/time"),
            ("DELETE", "/no"),
        ):
            status, answer, _ = asked(server, method, path, b"", token=token.encode("utf-8").decode("latin-1"))
            assert (status, answer) == (401, wanted[1]) and TOKEN not in str(answer)
    basic = asked(server, "GET", "/v1/info", token=None, Authorization=f"Basic {TOKEN}")
    assert basic[0] == 401 and asked(server, "GET", "/v1/info")[0] == 200


def test_tokens_are_compared_in_constant_time(server: DeviceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    assert asked(server, "GET", "/v1/info")[0] == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/", None, 404, "there is no '/'; there is /v1/info"),
        ("POST", "/v1/info", b"{}", 405, "asked for by GET"),
        ("GET", "/v1/time", None, 405, "asked for by POST"),
        ("POST", "/v1/time", b"{", 400, "no JSON"),
        ("POST", "/v1/time", b"[]", 400, "must be a JSON object"),
        ("POST", "/v1/open", json.dumps(CALL).encode(), 409, "1 files are not there: PUT"),
        ("PUT", "/v1/files/../../etc/passwd", b"x", 400, "SHA-256"),
        ("PUT", f"/v1/files/{HASH.upper()}", b"x", 400, "SHA-256"),
        ("PUT", f"/v1/files/{HASH}", b"x", 400, f"not {HASH}"),
        ("PUT", f"/v1/files/{HASH}", b"x" * (10**6 + 1), 413, "may have 1000000 bytes; it has 1000001"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    method: str, path: str, body: bytes | None, status: int, said: str, server: DeviceServer
) -> None:
    if status == 413:  # refused before the body comes, which is then not read
        found = asked(server, method, path, None, **{"Content-Length": str(len(body or b""))})
    else:
        found = asked(server, method, path, body)
    assert found[0] == status and said in found[1]["error"]
    assert found[1].get("missing") == ([HASH] if status == 409 else None)


def test_a_mistake_of_whets_own_is_answered_and_the_device_goes_on(
    server: DeviceServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work.Work, "_order", lambda self, given: {}[1])
    status, answer, _ = asked(server, "POST", "/v1/open", json.dumps(CALL).encode())
    assert status == 500 and answer["error"] == "this should not happen: KeyError: 1"
    assert "KeyError" in capfd.readouterr().err and asked(server, "GET", "/v1/info")[0] == 200


def test_the_device_tells_what_it_is_and_what_it_keeps(server: DeviceServer) -> None:
    _, found, _ = asked(server, "GET", "/v1/info")
    assert found["device"] == module.fingerprint().to_dict() and found["protocol"] == 1
    assert found["kept"] == {"files": 0, "bytes": 0} and found["limits"]["each"] == 10**6
    assert found["queue"] == {"measuring": False, "waiting": 0, "most": 8}


# -- at once -----------------------------------------------------------------------------------------------------------


def test_two_measurements_never_overlap_and_the_queue_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, go = 0, 0, threading.Event()

    def open_(self: work.Work, data: Any) -> dict[str, Any]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        go.wait(10)
        time.sleep(0.002)
        inside -= 1
        return {}

    monkeypatch.setattr(work.Work, "open", open_)
    open_.__name__ = "open"
    with serving(tmp_path, queue=3) as server:
        results: list[Any] = []
        ask = lambda: results.append(asked(server, "POST", "/v1/open", b"{}"))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while asked(server, "GET", "/v1/info")[1]["queue"]["waiting"] < 3:
            time.sleep(0.002)
        status, answer, headers = asked(server, "POST", "/v1/open", b"{}")
        assert status == 503 and int(headers["Retry-After"]) > 0
        assert "3 wait already" in answer["error"] and answer["waiting"] == 3
        go.set()
        for thread in threads:
            thread.join()
        assert [r[0] for r in results] == [200] * 4 and most == 1


def test_whoever_has_left_the_queue_is_not_measured_for(server: DeviceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def open_(self: work.Work, data: Any) -> dict[str, Any]:
        done.append(data)
        return {}

    open_.__name__ = "open"
    monkeypatch.setattr(work.Work, "open", open_)
    with server.desk.turns.turn(), connected(server) as line:
        line.sendall(request("POST", "/v1/open", b"{}"))
        while not server.desk.turns.waiting:
            time.sleep(0.001)
        line.close()
    while server.desk.turns.waiting or server.desk.turns.working:
        time.sleep(0.001)
    assert asked(server, "POST", "/v1/open", b'{"a": 1}')[0] == 200 and done == [{"a": 1}]


def test_so_many_connections_and_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, connections=2) as server:
        with connected(server) as first, connected(server) as second:
            for line in (first, second):
                line.sendall(request("GET", "/v1/info"))
                assert line.recv(12) == b"HTTP/1.1 200"
            status, answer, headers = asked(server, "GET", "/v1/info")
            assert status == 503 and headers["Retry-After"] and "too many connections" in answer["error"]
        until = time.monotonic() + 5
        while asked(server, "GET", "/v1/info")[0] != 200:
            assert time.monotonic() < until


# -- whatever comes ----------------------------------------------------------------------------------------------------


def connected(server: DeviceServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


class Wire:
    """A connection on which one request has come in; what is answered is kept."""

    def __init__(self, data: bytes, idle: socket.socket) -> None:
        self.data, self.idle, self.answer = data, idle, b""

    def makefile(self, mode: str, size: int) -> Any:
        import io

        return io.BytesIO(self.data)

    def sendall(self, data: bytes) -> None:
        self.answer += bytes(data)

    def settimeout(self, seconds: float) -> None:
        pass

    def fileno(self) -> int:
        return self.idle.fileno()


COUNT = 10_000


def test_ten_thousand_requests_that_are_none_are_refused_and_the_device_measures_after_them(
    server: DeviceServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, statuses = random.Random(0), dict[bytes, int]()
    idle, other = socket.socketpair()
    for count in range(COUNT):
        wire = Wire(KINDS[count % len(KINDS)](rng), idle)
        Handler(wire, ("127.0.0.1", 1), server)  # type: ignore[arg-type]
        status = wire.answer[9:12] if wire.answer.startswith(b"HTTP/1.1 ") else wire.answer[:9]
        statuses[status] = statuses.get(status, 0) + 1
        assert TOKEN.encode() not in wire.answer
    refused = {b"400", b"401", b"404", b"405", b"409", b"413", b"414", b"431", b"501", b"505"}
    # A line of nothing is no request and has no answer; one without a version is answered without a status.
    assert statuses.keys() <= {*refused, b"", b'{"error":'} and statuses.keys() >= {b"400", b"401", b"409", b"413"}, (
        statuses
    )
    assert not capfd.readouterr().err and len(server.desk.store) == 0
    idle.close(), other.close()
    session = remote_of(server).open(Artifact(model(tmp_path / "m.onnx"), SETTINGS), 2)
    assert (measure({"a": lambda: session(inputs())}, "a", seconds=0.01, rounds=5)["a"]).latency_ms > 0


def test_connections_that_break_off_are_let_go(server: DeviceServer) -> None:
    rng = random.Random(1)
    for count in range(70):
        with connected(server) as line:
            line.sendall(KINDS[count % len(KINDS)](rng)[:60000])
            if count % 3:
                line.shutdown(socket.SHUT_WR)
    assert asked(server, "GET", "/v1/info")[0] == 200
