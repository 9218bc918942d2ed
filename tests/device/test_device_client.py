"""A device that is away is waited for, longer each time and not for ever; another one in its place is refused."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from served import TOKEN, serving

from whet.device import client as module
from whet.device import server as server_module
from whet.device.address import Address, DeviceError, DeviceGone
from whet.device.client import Client, pauses
from whet.device.protocol import Malformed, Missing
from whet.hardware.device import fingerprint


def client(port: int, wait_seconds: float = 20.0, token: str = TOKEN) -> Client:
    return Client(Address("127.0.0.1", port), token, wait_seconds, "my-token")


def test_pauses_grow_up_to_a_longest_and_end_at_the_limit() -> None:
    found = list(pauses(200.0))
    assert sum(found) == pytest.approx(200) and max(found) == module.LONGEST_PAUSE
    assert found[:-1] == sorted(found[:-1]) and list(pauses(0.0)) == []


def test_a_device_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    told: list[str] = []
    slept: list[float] = []
    with ExitStack() as second:
        with serving(tmp_path) as server:
            mine, port = client(server.server_port), server.server_port
            mine.told = told.append
        mine.close()  # what the server that is gone would do

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                second.enter_context(serving(tmp_path, port=port))

        mine.sleep = sleep
        with pytest.raises(Missing):
            mine.post("/v1/open", {"order": {"files": {"model.onnx": "0" * 64}, **OPENED}})
    assert slept == list(pauses(20.0))[:3]
    assert len(told) == 3 and told[0].startswith(f"device://127.0.0.1:{port} does not answer (")
    assert told[2].endswith("; waiting, 3 s of at most 20")


OPENED = {"settings": {"runtime": "onnxruntime", "precision": "f32", "threads": 1}, "batch": 1}


def test_one_that_stays_away_is_named_with_how_to_go_on(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        mine = client(server.server_port, wait_seconds=6.0)
    slept: list[float] = []
    mine.sleep, mine.told = slept.append, lambda sentence: None
    mine.close()
    with pytest.raises(DeviceGone, match=r"127\.0\.0\.1:\d+' does not answer.*waited for 6 s.*same command goes on"):
        mine.post("/v1/open", {})
    assert sum(slept) == pytest.approx(6)
    with pytest.raises(DeviceError, match=r"does not answer \(.*refused.*is `whet device serve` running there"):
        client(server.server_port)


def test_an_idle_connection_that_was_closed_is_made_anew_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        mine = client(server.server_port)
        mine.sleep = lambda seconds: None if seconds == 0 else pytest.fail("it waits")
        assert mine._line is not None
        mine._line.sock.shutdown(2)
        with pytest.raises(Malformed, match="refuses what it was asked for: the body lacks 'order'"):
            mine.post("/v1/open", {})


def test_another_device_in_its_place_is_refused_and_what_differs_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path) as server:
        mine = client(server.server_port)
        here = fingerprint()
        monkeypatch.setattr(server_module, "fingerprint", lambda: replace(here, memory_gib=1))
        mine.info()
        versions = tuple((n, "0.1" if n == "openvino" else v) for n, v in here.versions)
        monkeypatch.setattr(server_module, "fingerprint", lambda: replace(here, versions=versions, system="Linux arm"))
        mine.close()
        with pytest.raises(
            DeviceGone, match=r"system was 'Linux .*', now 'Linux arm'; openvino was '.*', now '0\.1'\."
        ):
            mine.post("/v1/open", {})


def test_a_wrong_token_names_the_file_and_not_the_token(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        with pytest.raises(DeviceError, match="refuses the token in 'my-token': give --token-file") as raised:
            client(server.server_port, token="another-token-of-mine")
        assert "another-token-of-mine" not in str(raised.value)
        mine = client(server.server_port)
        mine.token = "another-token-of-mine"
        with pytest.raises(DeviceGone):  # in a search, which cannot go on
            mine.post("/v1/open", {})


@contextmanager
def answering(*answers: tuple[int, Any]) -> Iterator[int]:
    """Serve what no device says; yield the port."""
    left = list(answers)

    class Other(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            status, data = left.pop(0) if len(left) > 1 else left[0]
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 503:
                self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.daemon_threads = True
        try:
            yield server.server_port
        finally:
            server.shutdown()


TOLD = {
    "protocol": 1, "device": fingerprint().to_dict(), "limits": {"each": 10, "seconds": 1.0}, "queue": {"most": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"<html>"), "answers what no device answers: is that its port"),
        ((200, {"device": {}}), "answers what no device answers"),
        ((200, []), "answers what no device answers"),
        ((404, b"<html>"), "answers what no device answers"),
        (
            (200, {**TOLD, "protocol": 9, "whet": "7.0"}),
            "runs whet 7.0, which speaks version 9 .* and this is version 1",
        ),
        ((500, {"error": "a mistake"}), "answers 500: a mistake"),
    ],
)
def test_what_is_no_device_or_speaks_otherwise_is_told(answer: tuple[int, Any], said: str) -> None:
    with answering(answer) as port, pytest.raises(DeviceError, match=said):
        client(port)


def test_a_busy_device_is_waited_for(tmp_path: Path) -> None:
    busy = (503, {"error": "8 wait already"})
    with answering((200, TOLD), busy, busy, (200, {"done": 1})) as port:
        mine, told, slept = client(port), list[str](), list[float]()
        mine.told, mine.sleep = told.append, slept.append
        assert mine.post("/v1/open", {}) == {"done": 1}
        assert slept == [7.0, 7.0] and told[0].endswith("is busy: 8 wait already; waiting, 0 s of at most 20")


def test_what_is_asked_after_an_interruption_is_not_given_the_answer_before_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        mine = client(server.server_port)
        assert mine._line is not None

        def interrupted() -> Any:
            raise KeyboardInterrupt

        mine._line.getresponse = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            mine.post("/v1/run", {})
        with pytest.raises(Missing):
            mine.post("/v1/open", {"order": {"files": {"model.onnx": "0" * 64}, **OPENED}})


def test_a_file_that_is_too_large_is_not_sent(tmp_path: Path) -> None:
    with answering((200, TOLD)) as port, pytest.raises(DeviceError, match="at most 10 bytes, this one has 11"):
        client(port).put("0" * 64, b"x" * 11)
