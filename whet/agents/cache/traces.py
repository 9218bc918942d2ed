"""Logs of requests to a cache: read from a file, or drawn by popularity, in sweeps, or as a mixture of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from whet.core.checks import whole
from whet.core.errors import WhetError
from whet.support.files import write_text

Array = np.ndarray[Any, np.dtype[Any]]

COLUMNS = "time_s\tkey\tsize_bytes\tttl_s\tlatency_ms"
"""The first line of a log's file; one request a line follows."""
LIFETIMES = (60.0, 600.0, 3600.0)
"""What made-up objects live for, in seconds; a request a second comes, so a trace of 2,000 outlives two of them."""


class LogError(WhetError):
    """A file is no log of requests."""


class Request(NamedTuple):
    """One request: its place in the log, its time, for what, and how large, long-lived and slow to fetch that is."""

    number: int
    time_s: float
    key: int
    size_bytes: int
    ttl_s: float
    latency_ms: float


@dataclass(frozen=True)
class Trace:
    """N requests in the order of their times, each array (N,): keys are whole numbers, `ttls_s` may be infinite."""

    times_s: Array
    keys: Array
    sizes_bytes: Array
    ttls_s: Array
    latencies_ms: Array

    def __len__(self) -> int:
        return len(self.keys)

    def requests(self) -> list[Request]:
        """Return the requests, one after the other."""
        arrays = (self.times_s, self.keys, self.sizes_bytes, self.ttls_s, self.latencies_ms)
        return [Request(i, *row) for i, row in enumerate(zip(*(a.tolist() for a in arrays), strict=True))]

    def next_uses(self) -> list[int]:
        """Return for each request the index of the next one of the same key, N where none follows.

        >>> plain([1, 2, 1]).next_uses()
        [2, 3, 3]
        """
        found, seen = [len(self)] * len(self), dict[int, int]()
        for index in range(len(self) - 1, -1, -1):
            key = int(self.keys[index])
            found[index] = seen.get(key, len(self))
            seen[key] = index
        return found


def plain(keys: list[int]) -> Trace:
    """Return a trace of one request a second for objects of one byte that never expire."""
    ones = np.ones(len(keys))
    return Trace(np.arange(len(keys)) * 1.0, np.array(keys), ones.astype(np.int64), ones * np.inf, ones)


def zipf(seed: int, requests: int = 2000, objects: int = 1000, exponent: float = 0.9) -> Trace:
    r"""Return requests by popularity: the r-th most popular object is asked for with :math:`p \propto r^{-s}`.

    Breslau, Cao, Fan, Phillips and Shenker (1999), Web Caching and Zipf-like Distributions.
    """
    rng = np.random.default_rng((seed, 0))
    chances = np.arange(1, whole("objects", objects) + 1) ** -exponent
    return _filled(rng, rng.choice(objects, whole("requests", requests), p=chances / chances.sum()))


def scan(seed: int, requests: int = 2000, objects: int = 150) -> Trace:
    """Return sweeps over all objects in one order: where they do not all fit, LRU evicts each before it comes again."""
    rng = np.random.default_rng((seed, 1))
    return _filled(rng, np.arange(whole("requests", requests)) % whole("objects", objects))


def mixed(seed: int, requests: int = 2000, burst: int = 60, every: int = 200) -> Trace:
    """Return requests by popularity with bursts between them, each of `burst` objects that nobody asks for again."""
    rng = np.random.default_rng((seed, 2))
    keys = zipf(seed, requests).keys.copy()
    once = int(keys.max()) + 1
    for begin in range(int(rng.integers(every)), requests, every):
        swept = keys[begin : begin + burst]
        swept[:] = np.arange(once, once + len(swept))
        once += len(swept)
    return _filled(rng, keys)


KINDS: dict[str, Callable[[int, int], Trace]] = {"zipf": zipf, "scan": scan, "mixed": mixed}


def _filled(rng: np.random.Generator, keys: Array) -> Trace:
    """Give each object a size (median 20 KB), a lifetime and an origin, and requests times, one a second on average."""
    count = int(keys.max()) + 1
    sizes = np.clip(rng.lognormal(np.log(20_000), 1.0, count), 1000, 400_000).astype(np.int64)
    ttls, latencies = rng.choice(LIFETIMES, count), rng.lognormal(np.log(30), 0.7, count)
    return Trace(np.cumsum(rng.exponential(1.0, len(keys))), keys, sizes[keys], ttls[keys], latencies[keys])


def write(trace: Trace, path: Path) -> None:
    """Write a trace as a log: a line of names, then time, key, size, lifetime and latency of each request, by tabs."""
    lines = ["\t".join(map(repr, request[1:])) for request in trace.requests()]
    write_text(path, "\n".join([COLUMNS, *lines]) + "\n")


def read(path: Path) -> Trace:
    """Read a log; keys may be any words, such as addresses.

    Raises: LogError that names the line that cannot be read, or whose time lies before the line above it.
    """
    if not path.is_file():
        raise LogError(f"log '{path}' does not exist.")
    first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if first != COLUMNS:
        raise LogError(f"'{path}' is no log of requests: its first line must be {COLUMNS!r}; got {first!r:.80}.")
    rows, names, before = [], dict[str, int](), -np.inf
    for number, line in enumerate(lines, 2):
        try:
            time_s, key, size, ttl, latency = line.split("\t")
            row = (float(time_s), names.setdefault(key, len(names)), int(size), float(ttl), float(latency))
        except ValueError as error:
            raise LogError(f"'{path}', line {number}: {line!r:.80} is not {COLUMNS!r}.") from error
        if not (row[0] >= before and row[2] > 0 and row[3] >= 0 and 0 <= row[4] < np.inf):
            raise LogError(f"'{path}', line {number}: times must not fall, sizes be above 0; got {line!r:.80}.")
        before = row[0]
        rows.append(row)
    if not rows:
        raise LogError(f"'{path}' holds no request.")
    times_s, keys, sizes, ttls, latencies = (np.array(column) for column in zip(*rows, strict=True))
    return Trace(times_s, keys, sizes, ttls, latencies)
