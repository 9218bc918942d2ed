"""What asks a device: one request at a time, again and again where the device is away for a while."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError, TargetError
from whet.device.address import Address, DeviceError, DeviceGone
from whet.device.protocol import VERSION, Malformed, Missing
from whet.hardware.device import Device
from whet.hardware.elsewhere import differences

FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 1.0, 1.6, 30.0
"""How many seconds lie between two attempts at first, how many times as many each time, and at most."""
CONNECT_SECONDS = 5.0
SLACK_SECONDS = 120.0
"""How much longer than the measurements in front of it an answer may take."""
PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""After how many seconds of silence the system asks whether the other side is there, how often, and how many times; and
after how many milliseconds what was sent and not acknowledged counts as lost."""
Content = bytes | Path
AWAY = (OSError, http.client.HTTPException)
"""What a connection raises that breaks, or that nobody answers."""


def pauses(limit: float) -> Iterator[float]:
    """Yield growing pauses of `limit` seconds in all.

    >>> [round(pause, 2) for pause in pauses(6.0)]
    [1.0, 1.6, 2.56, 0.84]
    """
    pause, left = FIRST_PAUSE, limit
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * GROWTH, LONGEST_PAUSE)


class Client:
    """One connection to the device at an address, made anew where it broke.

    The first answer tells which device it is. Where it is away later, it is waited for with growing pauses of at most
    `wait_seconds` in all, of which `told` is given a sentence; another device in its place is refused.
    """

    def __init__(self, where: Address, token: str, wait_seconds: float, token_file: str = "") -> None:
        self.where, self.token, self.wait_seconds, self.token_file = where, token, wait_seconds, token_file
        self.told: Callable[[str], None] = lambda sentence: print(sentence, file=sys.stderr)
        self.sleep: Callable[[float], None] = time.sleep
        self._line: http.client.HTTPConnection | None = None
        self._known: Device | None = None
        try:
            self.information = self.info()
        except (*AWAY, _Busy) as error:
            raise DeviceError(
                f"'{where}' does not answer ({_reason(error)}): is `whet device serve` running there, on that port "
                "and bound to an address that is reached from here (--host)?"
            ) from None

    @property
    def device(self) -> Device:
        """The device that answered first."""
        assert self._known is not None
        return self._known

    def info(self) -> dict[str, Any]:
        """Return what the device tells of itself now, over a new connection; nothing is waited for.

        Raises: DeviceGone where it is another device than at first; OSError where it does not answer.
        """
        self.close()
        line = http.client.HTTPConnection(self.where.host, self.where.port, timeout=CONNECT_SECONDS)
        line.connect()
        self._line = line
        _probe(line.sock)
        found = _told(self._once("GET", "/v1/info", b""), self.where)
        self._same(found)
        seconds, queue = float(found["limits"]["seconds"]), int(found["queue"]["most"])
        if line.sock is not None:  # some close the connection behind each answer
            line.sock.settimeout(seconds * (queue + 1) + SLACK_SECONDS)
        return found

    def post(self, path: str, data: Any) -> Any:
        """Return the answer to an order: JSON data, or bytes. Raises: Missing for files that are to be sent first."""
        return self._patiently("POST", path, lambda: json.dumps(data).encode())

    def put(self, digest: str, content: Content) -> None:
        """Send a file that goes by its SHA-256."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        most = int(self.information["limits"]["each"])
        if size > most:
            raise DeviceError(
                f"'{self.where}' takes files of at most {most:,} bytes, this one has {size:,}: start it with a larger "
                "--max-file."
            )
        self._patiently("PUT", f"/v1/files/{digest}", lambda: content if isinstance(content, bytes) else _read(content))

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _patiently(self, method: str, path: str, body: Callable[[], bytes]) -> Any:
        """Ask until there is an answer, or the device has been away for too long."""
        left, waited, fresh = pauses(self.wait_seconds), 0.0, False
        while True:
            try:
                if self._line is None:
                    self.info()
                    fresh = True
                return self._once(method, path, body())
            except _Busy as error:
                pause, why = next(left, None), f"is busy: {error}"
                pause = None if pause is None else max(pause, error.seconds)
            except AWAY as error:
                self.close()
                # A connection that was idle for long was closed over there: that is no reason to wait.
                again = not fresh and waited == 0
                fresh, why = True, f"does not answer ({_reason(error)})"
                pause = 0.0 if again else next(left, None)
            if pause is None:
                raise DeviceGone(
                    f"'{self.where}' {why}; it was waited for {waited:.0f} s, as long as --device-wait says. What was "
                    "finished is safe: once the device is there again, the same command goes on."
                )
            if pause:
                self.told(f"{self.where} {why}; waiting, {waited:.0f} s of at most {self.wait_seconds:.0f}")
                self.sleep(pause)
            waited += pause

    def _once(self, method: str, path: str, body: bytes) -> Any:
        """Ask once; raise what the answer says went wrong."""
        if self._line is None:
            raise http.client.NotConnected("it closes every connection")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/octet-stream"}
        try:
            self._line.request(method, path, body if method != "GET" else None, headers)
            response = self._line.getresponse()
            content = response.read()
        except BaseException:  # Ctrl-C: the answer, when it came, would be taken for that to the next request
            self.close()
            raise
        if response.will_close:
            self.close()
        if response.status == 200 and response.getheader("Content-Type") == "application/octet-stream":
            return content
        try:
            answer = json.loads(content)
            sentence = str(answer["error"]) if response.status != 200 else ""
        except (ValueError, TypeError, KeyError):
            raise DeviceError(f"'{self.where}' answers what no device answers: is that its port?") from None
        if response.status != 200:
            raise self._error(response.status, sentence, answer, response.getheader("Retry-After", ""))
        return answer

    def _error(self, status: int, sentence: str, answer: Any, later: str) -> Exception:
        """Return what an answer other than 200 means here."""
        if status == 401:
            given = f"'{self.token_file}'" if self.token_file else "what was given"
            # In the middle of a search nothing can be measured any more.
            kind = DeviceError if self._known is None else DeviceGone
            return kind(
                f"'{self.where}' refuses the token in {given}: give --token-file with a copy of the file that "
                "`whet device serve` was started with."
            )
        if status == 409:
            return Missing([str(each) for each in answer.get("missing", ())])
        if status == 503:
            return _Busy(sentence, min(float(later), LONGEST_PAUSE) if later.isdigit() else 0.0)
        if status == 422:
            kinds = {"ArtifactError": ArtifactError, "TargetError": TargetError}
            return kinds.get(str(answer.get("kind")), DeviceError)(f"{sentence} (on {self.where})")
        if status == 400:
            return Malformed(f"'{self.where}' refuses what it was asked for: {sentence}")
        return DeviceError(f"'{self.where}' answers {status}: {sentence}")

    def _same(self, found: dict[str, Any]) -> None:
        """Raise DeviceGone where another device answers than at first."""
        now = Device.of(found["device"])
        if self._known is None:
            self._known = now
        elif changed := differences(self._known, now):
            raise DeviceGone(
                f"'{self.where}' came back as another device: {'; '.join(changed)}. Numbers of two devices are not "
                "compared: put the old one back, or begin anew with --restart."
            )


class _Busy(Exception):
    """The device is there and has no time for so many seconds."""

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = seconds


def _told(found: Any, where: Address) -> dict[str, Any]:
    """Return what a device tells of itself; raise DeviceError where it speaks otherwise."""
    try:
        version = found["protocol"]
        Device.of(found["device"]), found["limits"]["each"], found["limits"]["seconds"], found["queue"]["most"]
    except (KeyError, TypeError, ValueError):
        raise DeviceError(f"'{where}' answers what no device answers: is that its port?") from None
    if version != VERSION:
        raise DeviceError(
            f"'{where}' runs whet {found.get('whet')}, which speaks version {version} of the protocol, and this is "
            f"version {VERSION}: install the same whet there."
        )
    return dict(found)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"model file '{path}' cannot be read: {error.strerror}.") from None


def _probe(line: socket.socket) -> None:
    """Have the system notice that the other side is gone, also where it was unplugged; orders are sent at once."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in PROBES.items():
        with suppress(AttributeError, OSError):  # not on every system
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
