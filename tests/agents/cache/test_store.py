"""The cache: its limit of bytes, what expires, and the six features by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.agents.cache.eviction import LRU, replay
from whet.agents.cache.store import CENTRES, SCALES, Cache
from whet.agents.cache.traces import Request, Trace, plain


def request(time_s: float, key: int, size: int = 3, ttl: float = 10.0) -> Request:
    return Request(int(time_s), time_s, key, size, ttl, 5.0)


def test_the_features_by_hand() -> None:
    cache, out = Cache(10), np.full((3, 6), 7, np.float32)
    cache.store(request(0, 1))
    cache.store(request(1, 2, 4, np.inf))
    assert cache.hit(request(2, 1)) and cache.hit(request(6, 1)) and not cache.hit(request(8, 3))
    assert cache.candidates(3) == [2, 1]
    cache.features(3, out)
    raw = np.array([[7, 4, 0, 0, 1e6, 5], [8, 3, 2, 4, 2, 5]])
    assert out[:2] == pytest.approx((np.log1p(raw) - CENTRES) / SCALES) and not out[2].any()


def test_what_is_too_old_is_no_hit_and_has_nothing_left() -> None:
    cache, out = Cache(10), np.zeros((1, 6), np.float32)
    cache.store(request(0, 1))
    assert not cache.expired(request(9.5, 1)) and cache.expired(request(10, 1)) and not cache.hit(request(10, 1))
    cache.features(1, out)
    assert out[0, 4] == -CENTRES[4] / SCALES[4]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(10)
    assert not cache.store(request(0, 1, 11)) and cache.lacks_bytes(request(0, 1, 11)) == 0 and not cache.entries
    assert cache.store(request(0, 2, 10)) and cache.lacks_bytes(request(1, 3, 4)) == 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60), st.integers(1, 12))
def test_it_never_holds_more_bytes_than_it_may(asked: list[tuple[int, int]], capacity: int) -> None:
    keys = np.array([k for k, _ in asked])
    times, sizes = np.cumsum([float(gap) for _, gap in asked]), keys % 4 + 1
    trace = Trace(times, keys, sizes, keys % 3 * 4.0 + 1, np.ones(len(keys)))
    cache = Cache(capacity)
    replay(trace, cache, LRU())
    assert cache.used_bytes == sum(e.size_bytes for e in cache.entries.values()) <= capacity
    assert set(cache.entries) <= set(plain(keys.tolist()).keys.tolist())
