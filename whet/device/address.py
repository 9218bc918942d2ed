"""Where a device is, how one proves that one may use it, and how long it is waited for."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from whet.core.errors import StudyError, TargetError

SCHEME, PORT = "device", 8100
TOKEN_FILE, WAIT = "WHET_DEVICE_TOKEN_FILE", "WHET_DEVICE_WAIT"
"""The variables of the environment that name the file with the token and say how long a device is waited for."""
WAIT_SECONDS = 600.0
LEAST_TOKEN = 16
"""How many characters a token has at least."""


class DeviceError(TargetError):
    """A device cannot be used as it was asked for."""


class DeviceGone(StudyError):
    """A device did not come back, or came back as another one: a search cannot go on without it."""


@dataclass(frozen=True)
class Address:
    """The host and the port of a device."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{SCHEME}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address(words: str) -> Address:
    """Return the address that `device://HOST:PORT` is; without a port it is 8100.

    >>> str(address("device://board.local")), str(address("device://[::1]:9000"))
    ('device://board.local:8100', 'device://[::1]:9000')

    Raises: DeviceError for what is none.
    """
    like = f"give {SCHEME}://HOST:{PORT}, e.g. {SCHEME}://192.168.1.20:{PORT}"
    try:
        parts = urlsplit(words)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DeviceError(f"'{words}' is no address of a device ({error}): {like}.") from None
    if parts.scheme != SCHEME or not host or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise DeviceError(f"'{words}' is no address of a device: {like}.")
    if port == 0:
        raise DeviceError(f"'{words}': the port must be from 1 to 65535.")
    return Address(host, PORT if port is None else port)


def use(token_file: Path | None = None, wait: float | None = None) -> None:
    """Keep for this process and its children where the token is and how many seconds devices are waited for."""
    if token_file is not None:
        os.environ[TOKEN_FILE] = str(token_file.absolute())
    if wait is not None:
        os.environ[WAIT] = f"{wait:g}"


def wait_seconds() -> float:
    """Return how many seconds a device that is gone is waited for.

    Raises: DeviceError where the environment says something else than a number.
    """
    words = os.environ.get(WAIT, "")
    try:
        found = float(words) if words else WAIT_SECONDS
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise DeviceError(f"{WAIT} must be a number of seconds of at least 0; got '{words}'.")
    return found


def token_file() -> Path:
    """Return the file that holds the token of a device.

    Raises: DeviceError where none is named.
    """
    words = os.environ.get(TOKEN_FILE, "")
    if not words:
        raise DeviceError(
            f"a device wants the token that `whet device serve` was started with: give --token-file FILE, "
            f"or set {TOKEN_FILE}."
        )
    return Path(words)


def read_token(path: Path) -> str:
    """Return the token that a file holds.

    Raises: DeviceError for a file that is missing, that others may read, or that holds no token.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text of ASCII characters"
        raise DeviceError(f"the token file '{path}' cannot be read: {why}.") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DeviceError(f"the token file '{path}' is open to other users: `chmod 600 '{path}'`.")
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise DeviceError(
            f"the token file '{path}' must hold one word of at least {LEAST_TOKEN} characters; it holds {len(token)}."
        )
    return token


def made_token(path: Path) -> bool:
    """Write a new token into a file that only its owner may read, where there is none; say whether it was written."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    return True
