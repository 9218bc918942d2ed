"""Requests that a device refuses, drawn at random: without its token, too large, or none of its protocol.

`benchmarks/two_hosts.py` sends them to a device that measures for a search.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from whet.device.parts import MODEL

TOKEN = "a-token-of-the-tests"
SETTINGS = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
HASH = "0123456789abcdef" * 4
ORDER = {"files": {MODEL: HASH}, "settings": SETTINGS, "batch": 1, "shapes": {"x": [1, 8]}}
CALL = {"order": ORDER, "inputs": HASH}
TIME = {
    "calls": {"a": CALL},
    "baseline": "a",
    "seconds": 0.1,
    "rounds": 5,
    "tolerance": 1,
    "burst_seconds": 1,
    "seed": 0,
}


def request(method: str, path: str, body: bytes = b"", token: str = TOKEN, *lines: str, length: Any = None) -> bytes:
    size = len(body) if length is None else length
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", f"Content-Length: {size}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x", "../../etc/passwd", "\0", HASH[1:], HASH + "0", [], {},
    [[]], {"a": 1}, {"../x": HASH}, {MODEL: "../../x"}, "é" * 300, ["x"] * 200, {str(i): HASH for i in range(99)}, 0.5,
)  # fmt: skip


def spoiled(rng: random.Random, data: Any) -> Any:
    """Return JSON data with one value, somewhere, made into something else or left out."""
    if isinstance(data, dict) and data and rng.random() < 0.9:
        name = rng.choice(list(data))
        if rng.random() < 0.15:
            return {key: value for key, value in data.items() if key != name}
        return {**data, name: spoiled(rng, data[name])}
    return rng.choice(JUNK)


def bytes_of(rng: random.Random, most: int = 200) -> bytes:
    return rng.randbytes(rng.randrange(most))


def orders(rng: random.Random) -> tuple[str, Any]:
    layers = {"files": {"0": ORDER}, "layers": ["a"], "inputs": HASH, "rounds": 3}
    single = {**CALL, "seconds": 0.1, "least": 1, "most": 2}
    fresh = {"order": ORDER, "inputs": {"x": {"sizes": [1, 8], "dtype": "float32"}}, "calls": 1}
    told = {"order": ORDER, "layers": ["a"]}
    each = {
        "open": CALL,
        "run": CALL,
        "time": TIME,
        "single": single,
        "fresh": fresh,
        "layers": layers,
        "executed": told,
    }
    name = rng.choice(list(each))
    return f"/v1/{name}", each[name]


def spoiled_order(rng: random.Random) -> bytes:
    path, data = orders(rng)
    return request("POST", path, json.dumps(spoiled(rng, data)).encode())


def bad_json(rng: random.Random) -> bytes:
    path, data = orders(rng)
    text = bytearray(json.dumps(data).encode())
    for _ in range(rng.randint(1, 5)):
        text[rng.randrange(len(text))] = rng.randrange(256)
    return request("POST", path, rng.choice([bytes(text)[:-1], bytes_of(rng), b"[" * rng.randrange(3000), b"{" + text]))


def truncated(rng: random.Random) -> bytes:
    path, data = orders(rng)
    whole = request(*rng.choice([("POST", path, json.dumps(data).encode()), ("PUT", f"/v1/files/{HASH}", b"x" * 99)]))
    return whole[: rng.randrange(len(whole))]


def wrong_length(rng: random.Random) -> bytes:
    lengths = (
        "-1",
        "+5",
        "1e3",
        "0x10",
        "",
        "9" * 30,
        "10 10",
        "५",
        "1000000000",
        "3.0",
        "4\r\nContent-Length: 5",
        "None",
    )
    extra = rng.choice([(), ("Transfer-Encoding: chunked",), ("Content-Length: 7",)])
    method, path = rng.choice([("POST", orders(rng)[0]), ("PUT", f"/v1/files/{HASH}")])
    return request(method, path, bytes_of(rng), TOKEN, *extra, length=rng.choice(lengths))


def wrong_path(rng: random.Random) -> bytes:
    tails = (
        "../../../etc/passwd", "..%2f..%2fetc", "%2e%2e/%2e%2e", HASH[:-1], HASH + "/", HASH + "?x=1",
        f"../files/{HASH}", HASH.upper(),
        "\x00" * 64, "/" + HASH, HASH[:62] + "..", "g" * 64, "a" * 70000, "", "//" + HASH, f"{HASH}#x",
    )  # fmt: skip
    return request(rng.choice(["PUT", "POST", "GET"]), "/v1/files/" + rng.choice(tails), bytes_of(rng))


def wrong_token(rng: random.Random) -> bytes:
    near = TOKEN[: rng.randrange(len(TOKEN))] + rng.choice(["", "x", "é", " ", "\x00"])
    path, data = orders(rng)
    return request(rng.choice(["POST", "PUT", "GET", "DELETE"]), path, json.dumps(data).encode(), near)


def wrong_head(rng: random.Random) -> bytes:
    heads = (
        b"GET", b"GET /v1/info", b"GET /v1/info HTTP/9.9\r\n\r\n", b"GET /v1/info HTTP/1.1\r\nno colon\r\n\r\n",
        b"BREW /v1/info HTTP/1.1\r\n\r\n", b"GET /v1/info HTTP/x\r\n\r\n", b"\r\n\r\n",
        b"\x16\x03\x01" + bytes_of(rng), bytes_of(rng) + b"\r\n\r\n",
        b"GET /v1/info HTTP/1.1\r\n" + b"A: b\r\n" * 150 + b"\r\n", b"GET /v1/info HTTP/1.1\r\nA: " + b"b" * 70000,
        b"GET  /v1/info  HTTP/1.1 x\r\n\r\n", b"GET /v1/info HTTP/1.1\r\n: x\r\n\x00: y\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n",
    )  # fmt: skip
    return rng.choice(heads)


def no_token(rng: random.Random) -> bytes:
    return request("POST", orders(rng)[0], bytes_of(rng)).replace(f"Authorization: Bearer {TOKEN}\r\n".encode(), b"")


def too_large(rng: random.Random) -> bytes:
    """Say a length beyond every limit, and begin with the body."""
    method, path = rng.choice([("POST", orders(rng)[0]), ("PUT", f"/v1/files/{HASH}")])
    return request(method, path, bytes_of(rng), length=rng.randrange(10**10, 10**15))


Kind = Callable[[random.Random], bytes]
REFUSED: dict[str, tuple[Kind, ...]] = {
    "unauthorised": (wrong_token, no_token),
    "oversized": (too_large,),
    "malformed": (spoiled_order, bad_json, truncated, wrong_length, wrong_path, wrong_head),
}
KINDS = tuple(kind for kinds in REFUSED.values() for kind in kinds)
ENDS_EARLY: tuple[Kind, ...] = (truncated, wrong_head)
"""Where more would have to come: the other side waits until the line ends."""
