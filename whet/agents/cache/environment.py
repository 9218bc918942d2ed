"""`whet/CacheEviction-v0`: a full cache asks which of its coldest objects goes; Gymnasium makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from whet.agents.cache.store import FEATURES, Cache, Entry
from whet.agents.cache.traces import KINDS, Array, Request, Trace
from whet.core.checks import whole
from whet.core.errors import unknown

CANDIDATES = 16
CAPACITY_BYTES = 2_000_000
"""Some 60 to 70 of the objects of made-up traces."""


class CacheEviction(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    r"""One episode is one log of requests, sent through a cache; one step evicts one of the K coldest objects.

    The observation is the K candidates' six features (`FEATURES`), a row each, (K, 6), the coldest first; rows without
    a candidate are zeros. Action i evicts candidate i, and the coldest where there is no candidate i.

    A retained object earns one point if it is hit again before it expires. Of the candidates all but one are retained,
    so this is the same for all actions, but for the point that the evicted one would have earned: the reward is
    :math:`r_t = h_t - l_t`, where l is 1 if the evicted object will be asked for before it expires, and h counts the
    requests until the next step that are hits, or would be if nothing had been evicted. What is lost comes due once
    in h, so that the sum of all rewards is the number of hits after the first step.

    `kind` is one of `KINDS`, drawn by the episode's seed; `logs` are traces of which each episode takes one.
    Gupta and Bhayani (2025), Cold-RL: Learning Cache Eviction with Offline Reinforcement Learning for NGINX.
    """

    def __init__(
        self, kind: str = "mixed", requests: int = 2000, capacity_bytes: int = CAPACITY_BYTES,
        candidates: int = CANDIDATES, logs: Sequence[Trace] = (),
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise unknown("kind of trace", kind, KINDS)
        self.kind, self.requests, self.capacity_bytes = kind, whole("requests", requests), capacity_bytes
        self.logs, self.candidates = tuple(logs), whole("candidates", candidates)
        self.observation_space = Box(-20.0, 40.0, (self.candidates, len(FEATURES)), np.float32)
        self.action_space = Discrete(self.candidates)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        """Begin a log with an empty cache and go to the first eviction: what is seen, (K, 6).

        A log without any has one step, whose action changes nothing.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        self.trace = self.logs[drawn % len(self.logs)] if self.logs else KINDS[self.kind](drawn, self.requests)
        self.next_uses, self.cache, self.lost = self.trace.next_uses(), Cache(self.capacity_bytes), dict[int, float]()
        self.hits = self.due = 0
        self._stops = self._played()
        self._request = next(self._stops, None)
        self.due = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Evict a candidate and go on to the next eviction: what is seen (K, 6), the reward, whether the log ended."""
        lost = 0
        if self._request is not None:
            keys = self.cache.candidates(self.candidates)
            key = keys[int(action) if action < len(keys) else 0]
            lost = self._evicted(key, self.cache.evict(key))
            self._request = next(self._stops, None)
        reward, self.due = self.due - lost, 0
        ended = self._request is None
        return self._seen(), float(reward), ended, False, {"hits": self.hits, "hit_ratio": self.hits / len(self.trace)}

    def _evicted(self, key: int, entry: Entry) -> int:
        """Return 1 if what was evicted will be asked for before it expires, which is remembered."""
        index = self.next_uses[entry.request]
        if index == len(self.trace) or self.trace.times_s[index] >= entry.expires_s:
            return 0
        self.lost[key] = entry.expires_s
        return 1

    def _played(self) -> Iterator[Request]:
        """Yield each request for which something must be evicted, as often as must be; count what comes due."""
        for request in self.trace.requests():
            if self.cache.expired(request):
                self.cache.evict(request.key)
            if self.cache.hit(request):
                self.hits, self.due = self.hits + 1, self.due + 1
                continue
            self.due += request.time_s < self.lost.pop(request.key, -np.inf)
            while self.cache.lacks_bytes(request):
                yield request
            self.cache.store(request)

    def _seen(self) -> Array:
        seen = np.zeros((self.candidates, len(FEATURES)), np.float32)
        self.cache.features(self.candidates, seen)
        return seen
