"""Which object a full cache gives up: LRU, LFU, ARC, Belady's foresight, and a choice among the coldest."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whet.agents.cache.store import FEATURES, Cache
from whet.agents.cache.traces import Array, Request, Trace


class Policy(Protocol):
    """What is told of every request and names what is evicted. A victim and what expired are forgotten."""

    def hit(self, request: Request) -> None:
        """What is asked for was there."""
        ...

    def missed(self, request: Request) -> None:
        """It was not there; victims may be asked for next."""
        ...

    def victim(self, request: Request) -> int:
        """Return the key of what makes room for what is asked for."""
        ...

    def stored(self, request: Request) -> None:
        """It was fetched into the cache."""
        ...

    def expired(self, key: int) -> None:
        """An object was taken out because it was too old."""
        ...


@dataclass(frozen=True)
class Replayed:
    """What came of a log: of so many requests so many hits, and the bytes of both."""

    requests: int
    hits: int
    bytes_asked: int
    bytes_hit: int
    evictions: int

    @property
    def hit_ratio(self) -> float:
        """The share of requests that were hits."""
        return self.hits / self.requests


def replay(trace: Trace, cache: Cache, policy: Policy) -> Replayed:
    """Send a log through an empty cache whose victims a policy names."""
    hits = bytes_hit = evictions = 0
    for request in trace.requests():
        if cache.expired(request):
            cache.evict(request.key)
            policy.expired(request.key)
        if cache.hit(request):
            hits, bytes_hit = hits + 1, bytes_hit + request.size_bytes
            policy.hit(request)
            continue
        policy.missed(request)
        while cache.lacks_bytes(request):
            cache.evict(policy.victim(request))
            evictions += 1
        if cache.store(request):
            policy.stored(request)
    return Replayed(len(trace), hits, int(trace.sizes_bytes.sum()), bytes_hit, evictions)


class LRU:
    """Evict what was used longest ago."""

    def __init__(self) -> None:
        self.order: OrderedDict[int, None] = OrderedDict()

    def hit(self, request: Request) -> None:
        """Make it the last used."""
        self.order.move_to_end(request.key)

    def missed(self, request: Request) -> None:
        """Do nothing."""

    def victim(self, request: Request) -> int:
        """Return what was used longest ago."""
        return self.order.popitem(last=False)[0]

    def stored(self, request: Request) -> None:
        """Make it the last used."""
        self.order[request.key] = None

    def expired(self, key: int) -> None:
        """Forget it."""
        del self.order[key]


class LFU:
    """Evict what was used least often since it was fetched; of several, what was used longest ago."""

    def __init__(self) -> None:
        self.uses: OrderedDict[int, int] = OrderedDict()

    def hit(self, request: Request) -> None:
        """Count it."""
        self.uses[request.key] += 1
        self.uses.move_to_end(request.key)

    def missed(self, request: Request) -> None:
        """Do nothing."""

    def victim(self, request: Request) -> int:
        """Return the first of those with the least uses."""
        key = min(self.uses, key=self.uses.__getitem__)
        del self.uses[key]
        return key

    def stored(self, request: Request) -> None:
        """Count its first use."""
        self.uses[request.key] = 1

    def expired(self, key: int) -> None:
        """Forget it."""
        del self.uses[key]


class Sized(OrderedDict[int, int]):
    """Keys with their sizes, the oldest first."""

    @property
    def total(self) -> int:
        """The bytes of all."""
        return sum(self.values())


class ARC:
    """Share the cache between what was used once lately and what was used more often, and learn the share.

    `once` and `often` are held; `gone_once` and `gone_often` remember what was evicted from each. A miss of one that
    is remembered as used once moves the aim `p` for `once` up, one of the other kind down. With objects of one size
    this is the algorithm of the paper; here lists are counted in bytes, and held to c, c and 2c as its own are.

    Megiddo and Modha (2003), ARC: A Self-Tuning, Low Overhead Replacement Cache.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity, self.p = capacity_bytes, 0.0
        self.once, self.often, self.gone_once, self.gone_often = Sized(), Sized(), Sized(), Sized()

    def hit(self, request: Request) -> None:
        """Make it the last of those that were used more often."""
        self.once.pop(request.key, None)
        self.often[request.key] = request.size_bytes
        self.often.move_to_end(request.key)

    def missed(self, request: Request) -> None:
        """Move the aim by what is remembered."""
        ones, others, size = self.gone_once.total, self.gone_often.total, request.size_bytes
        if request.key in self.gone_once:
            self.p = min(float(self.capacity), self.p + max(1.0, others / ones) * size)
        elif request.key in self.gone_often:
            self.p = max(0.0, self.p - max(1.0, ones / others) * size)

    def victim(self, request: Request) -> int:
        """Return the oldest of those used once where they take more than their aim, else the oldest of the others."""
        total = self.once.total
        if self.once and (total > self.p or (request.key in self.gone_often and total == self.p) or not self.often):
            key, size = self.once.popitem(last=False)
            self.gone_once[key] = size
        else:
            key, size = self.often.popitem(last=False)
            self.gone_often[key] = size
        return key

    def stored(self, request: Request) -> None:
        """Put it where it belongs, and forget the oldest of what is remembered beyond the limits."""
        known = self.gone_once.pop(request.key, None) or self.gone_often.pop(request.key, None)
        (self.often if known else self.once)[request.key] = request.size_bytes
        while self.gone_once and self.once.total + self.gone_once.total > self.capacity:
            self.gone_once.popitem(last=False)
        while self.gone_often and sum(map(sum, self.sizes())) > 2 * self.capacity:
            self.gone_often.popitem(last=False)

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the bytes held and remembered, of what was used once and of what was used more often."""
        return (self.once.total, self.gone_once.total), (self.often.total, self.gone_often.total)

    def expired(self, key: int) -> None:
        """Forget it."""
        self.once.pop(key, None)
        self.often.pop(key, None)


class Belady:
    """Evict what is asked for again last, or never before it expires: it knows the log to come.

    With objects of one size that do not expire nothing has more hits. With several sizes, or where a miss renews
    what would have expired, something may.

    Belady (1966), A Study of Replacement Algorithms for a Virtual-Storage Computer.
    """

    def __init__(self, trace: Trace) -> None:
        self.next_uses, self.times_s = trace.next_uses(), [*trace.times_s.tolist(), np.inf]
        self.expires_s: dict[int, float] = {}
        self.next_use: dict[int, float] = {}

    def hit(self, request: Request) -> None:
        """Look up when it is asked for again."""
        index = self.next_uses[request.number]
        self.next_use[request.key] = index if self.times_s[index] < self.expires_s[request.key] else np.inf

    def missed(self, request: Request) -> None:
        """Do nothing."""

    def victim(self, request: Request) -> int:
        """Return what is asked for again last."""
        key = max(self.next_use, key=self.next_use.__getitem__)
        self.expired(key)
        return key

    def stored(self, request: Request) -> None:
        """Look up when it is asked for again."""
        self.expires_s[request.key] = request.time_s + request.ttl_s
        self.hit(request)

    def expired(self, key: int) -> None:
        """Forget it."""
        del self.next_use[key], self.expires_s[key]


@dataclass(frozen=True)
class Question:
    """What a choice among the coldest is asked: `features` (K, 6), `sizes_bytes` (K,), 0 where is no candidate."""

    features: Array
    sizes_bytes: Array
    needed_bytes: int


Decide = Callable[[Question], int | None]
"""What answers with a mask of victims, bit i for candidate i; None leaves it to LRU."""


class Coldest:
    """Evict those of the K coldest objects that `decide` chooses; where it does not, what was used longest ago."""

    def __init__(self, cache: Cache, decide: Decide, candidates: int) -> None:
        self.cache, self.decide, self.count = cache, decide, candidates
        self.chosen: deque[int] = deque()
        self._features = np.zeros((candidates, len(FEATURES)), np.float32)

    def hit(self, request: Request) -> None:
        """Do nothing: the cache knows the order."""

    def missed(self, request: Request) -> None:
        """Drop what is left of an earlier choice."""
        self.chosen.clear()

    def victim(self, request: Request) -> int:
        """Return the next of the chosen; ask where none is left."""
        if not self.chosen:
            keys = self.cache.candidates(self.count)
            sizes = np.zeros(self.count, np.int64)
            sizes[: len(keys)] = [self.cache.entries[key].size_bytes for key in keys]
            self.cache.features(self.count, self._features)
            mask = self.decide(Question(self._features, sizes, self.cache.lacks_bytes(request)))
            self.chosen.extend(key for bit, key in enumerate(keys) if (mask or 1) >> bit & 1)
        return self.chosen.popleft()

    def stored(self, request: Request) -> None:
        """Do nothing."""

    def expired(self, key: int) -> None:
        """Do nothing."""


def best(scores: Array, sizes_bytes: Array) -> int:
    """Return the mask of the candidate with the highest score (K,); sizes (K,) are 0 where is no candidate.

    One at a time, as it was learned: masks that made enough room at once had two points fewer hits in a hundred.

    >>> bin(best(np.array([0.1, 0.9, 0.5, 7.0]), np.array([10, 4, 8, 0])))
    '0b10'
    """
    return 1 << int(np.where(sizes_bytes > 0, scores, -np.inf).argmax())
