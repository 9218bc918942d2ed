"""The server of a device: it takes files and orders from those who know its token, and does one thing at a time."""

from __future__ import annotations

import hmac
import json
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import whet
from whet.core.errors import WhetError
from whet.device.protocol import HASH, VERSION, Malformed, Missing, read_json
from whet.device.store import Readable, Store
from whet.device.turns import Busy, Turns
from whet.device.work import Answer, Work
from whet.hardware.device import fingerprint

FILES = "/v1/files/"
INFO = "/v1/info"
MOST_JSON = 4 * 10**6
IDLE_SECONDS = 30.0
"""After how long a connection on which nothing comes is closed."""
RETRY_SECONDS = 5
END_SECONDS = 1.0
JSON, BYTES = "application/json", "application/octet-stream"
SHOWN = 300
"""How many characters of what cannot be read are told back."""


class Refused(Exception):
    """A request that is answered with a status and a sentence, and nothing else."""

    def __init__(self, status: HTTPStatus, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.status, self.answer = status, {"error": sentence, **more}


@dataclass
class Desk:
    """What all connections share: the token, the store, the work, and whose turn it is."""

    token: str
    store: Store
    work: Work
    turns: Turns = field(default_factory=lambda: Turns(8))
    seconds: float = 300.0

    @property
    def orders(self) -> Mapping[str, Callable[[Any], Answer]]:
        """What there is to ask for, by its path."""
        work = self.work
        each = (work.open, work.run, work.time, work.single, work.fresh, work.layers, work.executed)
        return {f"/v1/{does.__name__}": does for does in each}

    def info(self) -> dict[str, Any]:
        """Return the fingerprint, the versions, the queue, what is kept, and the limits."""
        room = self.store.room
        return {
            "protocol": VERSION,
            "whet": whet.__version__,
            "device": fingerprint().to_dict(),
            "queue": {"measuring": self.turns.working, "waiting": self.turns.waiting, "most": self.turns.most},
            "kept": {"files": len(self.store), "bytes": self.store.size_bytes},
            "limits": {"files": room.files, "bytes": room.bytes, "each": room.each, "seconds": self.seconds},
        }


UNKNOWN = -1
"""How many bytes a body has left of which nobody said yet how long it is."""


@dataclass
class Body:
    """The bytes of a request that were not read yet."""

    source: Readable
    left: int

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; fewer where the connection ends."""
        found = self.source.read(min(size, self.left))
        self.left -= len(found)
        return found

    def all(self) -> bytes:
        """Return the whole body. Raises: Malformed where it is shorter than was said."""
        wanted = self.left
        found = self.read(wanted)
        if len(found) < wanted:
            raise Malformed(f"the body ends {wanted - len(found)} bytes before its Content-Length.")
        return found


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection. Whoever has no token is told that and nothing else."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: DeviceServer

    def answer(self) -> None:
        """Answer one request; whatever it is, the connection or at least the server goes on."""
        body = Body(self.rfile, UNKNOWN)
        try:
            self._admit()
            body.left = self._length()
            found = self._found(body)
            status, more = HTTPStatus.OK, dict[str, str]()
        except Refused as refusal:
            status, found, more = refusal.status, refusal.answer, _headers(refusal.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception as error:  # a mistake of whet's own is answered, too: the device must go on
            traceback.print_exception(error, file=sys.stderr)
            status, more = HTTPStatus.INTERNAL_SERVER_ERROR, {}
            found = {"error": f"this should not happen: {type(error).__name__}: {str(error)[:SHOWN]}"}
        # What was not read would be taken for the next request.
        self.close_connection = self.close_connection or body.left != 0
        self._send(status, found, more)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = answer

    def _admit(self) -> None:
        """Raise Refused unless the token is the right one."""
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        wanted = self.server.desk.token.encode()
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted)
        if not same or scheme.lower() != "bearer":
            raise Refused(HTTPStatus.UNAUTHORIZED, "this device wants its token, 'Authorization: Bearer TOKEN'.")

    def _length(self) -> int:
        """Return how many bytes the body has; raise Refused where that is not said in one way."""
        given = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") is not None:
            raise Refused(HTTPStatus.BAD_REQUEST, "give a Content-Length: bodies in chunks are not taken.")
        if not given and self.command in ("GET", "HEAD"):
            return 0
        if not given:
            raise Refused(HTTPStatus.BAD_REQUEST, "give a Content-Length.")
        words = given[0].strip()
        if len(given) > 1 or not words.isascii() or not words.isdigit() or len(words) > 15:
            raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length must be one whole number.")
        most = self.server.desk.store.room.each if self.path.startswith(FILES) else MOST_JSON
        if int(words) > most:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {most} bytes; it has {words}.")
        return int(words)

    def _found(self, body: Body) -> Answer:
        """Return the answer to a request with the right token; raise Refused for one that is refused."""
        desk = self.server.desk
        wanted = {INFO: "GET"} | dict.fromkeys(desk.orders, "POST") | {FILES: "PUT"}
        path = FILES if self.path.startswith(FILES) else self.path
        if path not in wanted:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no '{self.path[:SHOWN]}'; there is {', '.join(wanted)}.")
        if self.command != wanted[path]:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"'{path}' is asked for by {wanted[path]}.")
        try:
            if path == INFO:
                return desk.info()
            return self._kept(body) if path == FILES else self._done(desk.orders[path], body)
        except Missing as error:
            raise Refused(HTTPStatus.CONFLICT, str(error), missing=error.hashes) from None
        except Malformed as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        except Busy as error:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), waiting=desk.turns.waiting) from None
        except WhetError as error:
            kind = type(error).__name__
            sentence = desk.store.without_folders(str(error))
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, kind=kind) from None

    def _kept(self, body: Body) -> Answer:
        """Keep a file, once nothing is measured: what comes in would take part of the processor."""
        digest = self.path.removeprefix(FILES)
        if not HASH.fullmatch(digest):
            raise Malformed(f"'{FILES}' goes on with a SHA-256, 64 digits from 0 to f; got '{digest[:SHOWN]}'.")
        with self.server.desk.turns.turn():
            return {"new": self.server.desk.store.put(digest, body, body.left)}

    def _done(self, does: Callable[[Any], Answer], body: Body) -> Answer:
        """Do an order, once it has its turn, unless whoever asked is gone by then."""
        data = read_json(body.all())
        with self.server.desk.turns.turn():
            if _is_gone(self.connection):
                raise ConnectionResetError
            return does(data)

    def _send(self, status: HTTPStatus, answer: Answer, more: Mapping[str, str]) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", BYTES if isinstance(answer, bytes) else JSON)
        self.send_header("Content-Length", str(len(data)))
        for name, value in more.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request of HTTP; nothing of it is told back."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, {"error": f"this is no request that can be read: {status.phrase.lower()}."}, {})

    def version_string(self) -> str:
        """Return what the header `Server` says."""
        return "whet"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line a call would be written while files are timed."""


def _headers(status: HTTPStatus) -> dict[str, str]:
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_SECONDS)}
    return {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}


def _is_gone(connection: socket.socket) -> bool:
    """Say whether the other side has closed a connection on which it waits for an answer."""
    if connection.fileno() < 0:
        return True
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


class DeviceServer(ThreadingHTTPServer):
    """Serves a desk at an address, in a thread a connection; `most` connections at a time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, desk: Desk, most: int = 32) -> None:
        self.desk = desk
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.most, self._slots = most, threading.BoundedSemaphore(most)
        self._lines: set[socket.socket] = set()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without asking for the host's name, which may take seconds where nobody answers."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, or refuse it where there are too many."""
        if self._slots.acquire(blocking=False):
            try:
                return super().process_request(request, client_address)
            except BaseException:  # there is no thread that gives it back
                self._slots.release()
                raise
        body = json.dumps({"error": "too many connections: come back in a few seconds."}).encode()
        head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_SECONDS}\r\nContent-Type: {JSON}\r\n"
        with suppress(OSError):
            request.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it ends."""
        self._lines.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._lines.discard(request)
            self._slots.release()

    def server_close(self) -> None:
        """End all connections; a measurement that is going on is waited for only briefly."""
        super().server_close()
        for line in list(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + END_SECONDS
        for _ in range(self.most):
            if not self._slots.acquire(timeout=max(0.0, until - time.monotonic())):
                break

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a connection that broke go; whoever was there asks again."""
