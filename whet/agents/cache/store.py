"""A cache with a limit of bytes: what it holds, in the order of use, and what is known of its coldest objects."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

import numpy as np

from whet.agents.cache.traces import Array, Request
from whet.core.checks import whole

FEATURES = ("age", "size", "hits", "between", "lifetime left", "latency")
"""Of a candidate for eviction: seconds since it was fetched, bytes, hits since, seconds between its last two requests
(0 without a hit), seconds until it expires, and milliseconds that its origin took; as logarithms of one more."""
CENTRES = np.array([4.0, 10.0, 0.0, 0.0, 4.0, 3.5])
SCALES = np.array([0.5, 1.0, 0.5, 1.0, 2.0, 0.7])
"""Taken off the logarithms, and what they are then divided by: near their means and spreads on the mixed trace."""
LONGEST_S = 1e6
"""What does not expire has so many seconds left."""


@dataclass
class Entry:
    """An object in the cache; `request` is the number of the last request for it."""

    size_bytes: int
    fetched_s: float
    expires_s: float
    latency_ms: float
    last_s: float
    request: int
    hits: int = 0
    between_s: float = 0.0


class Cache:
    """Objects of at most `capacity_bytes` together; the first of `entries` is the one that was used longest ago."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = whole("capacity_bytes", capacity_bytes)
        self.entries: OrderedDict[int, Entry] = OrderedDict()
        self.used_bytes = 0
        self.now_s = 0.0

    def expired(self, request: Request) -> bool:
        """Say whether what is asked for is held and too old to be given."""
        entry = self.entries.get(request.key)
        return entry is not None and request.time_s >= entry.expires_s

    def hit(self, request: Request) -> bool:
        """Take a request: say whether it is held and fresh, in which case it becomes the last used."""
        self.now_s = request.time_s
        entry = self.entries.get(request.key)
        if entry is None or self.now_s >= entry.expires_s:
            return False
        entry.between_s, entry.last_s, entry.request = self.now_s - entry.last_s, self.now_s, request.number
        entry.hits += 1
        self.entries.move_to_end(request.key)
        return True

    def lacks_bytes(self, request: Request) -> int:
        """Return how many bytes must be evicted before what is asked for fits; 0 where it never does."""
        if request.size_bytes > self.capacity_bytes:
            return 0
        return max(0, self.used_bytes + request.size_bytes - self.capacity_bytes)

    def store(self, request: Request) -> bool:
        """Fetch what is asked for into the cache, as the last used; what is larger than all of it is not kept."""
        if request.size_bytes > self.capacity_bytes:
            return False
        now = request.time_s
        self.entries[request.key] = Entry(
            request.size_bytes, now, now + request.ttl_s, request.latency_ms, now, request.number
        )
        self.used_bytes += request.size_bytes
        return True

    def evict(self, key: int) -> Entry:
        """Take an object out."""
        entry = self.entries.pop(key)
        self.used_bytes -= entry.size_bytes
        return entry

    def candidates(self, count: int) -> list[int]:
        """Return the keys of the objects that were used longest ago, the oldest first, at most `count`."""
        return list(islice(self.entries, count))

    def features(self, count: int, out: Array) -> None:
        """Write what is known of the candidates (`FEATURES`) into `out` (count, 6); other rows are zeros."""
        now = self.now_s
        known = [
            (now - e.fetched_s, e.size_bytes, e.hits, e.between_s, min(e.expires_s - now, LONGEST_S), e.latency_ms)
            for e in islice(self.entries.values(), count)
        ]
        out[:] = 0
        if known:
            out[: len(known)] = (np.log1p(np.maximum(np.array(known), 0)) - CENTRES) / SCALES
