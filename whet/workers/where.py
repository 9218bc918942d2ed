"""`Where`: what `--workers` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from whet.core.errors import WorkersError

PORT = 10001
"""Where the head of a Ray cluster listens for drivers, unless it was told another port."""
ALLOWED = f"a whole number above 0, for so many on this machine, or ray://HOST:{PORT}, the head of a Ray cluster"
SCHEME = "ray://"


@dataclass(frozen=True)
class Where:
    """So many workers on this machine, or, where `count` is None, all that the cluster at `address` has."""

    count: int | None
    address: str = ""

    def __str__(self) -> str:
        return self.address or f"{self.count} on this machine"


def where(words: int | str | None) -> Where | None:
    """Return what words such as `4` or `ray://HOST:10001` ask for; nothing where they are None.

    >>> where("4"), where("ray://box:10001").address
    (Where(count=4, address=''), 'ray://box:10001')

    Raises: WorkersError that says the nearest allowed form.
    """
    if words is None:
        return None
    text = str(words).strip()
    if re.fullmatch(r"\d+", text) and int(text) > 0 and not isinstance(words, bool):
        return Where(int(text))
    if text.startswith(SCHEME) and _has_port(text):
        return Where(None, text)
    near = _nearest(text)
    raise WorkersError(f"workers '{words}'" + (f"; did you mean {near}?" if near else ".") + f" Allowed: {ALLOWED}.")


def _has_port(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname and parts.port) and parts.path in ("", "/")
    except ValueError:
        return False


def _nearest(text: str) -> str:
    """Return the allowed form that is nearest to what was written, if any is."""
    number = re.fullmatch(r"[+-]?(\d+)([.,]\d*)?", text)
    if number:
        return str(max(int(number[1]), 1))
    host = re.sub(r"^\w*:?/*(?=[\w.-]+(:|$))", "", text) if "/" in text else text
    found = re.match(r"([\w-]+(?:\.[\w-]+)*)(?::(\d+))?", host)
    if not found or not ("/" in text or ":" in text or "." in text):
        return ""
    return f"{SCHEME}{found[1]}:{found[2] or PORT}"
