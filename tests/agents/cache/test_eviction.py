"""What is evicted: by hand, by the algorithm of ARC's paper, and against the best that any choice could do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.agents.cache.eviction import ARC, LFU, LRU, Belady, Coldest, Policy, Question, best, replay
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import Trace, mixed, plain

KEYS = st.lists(st.integers(0, 7), min_size=1, max_size=60)
SIMPLE: list[Callable[[int], Policy]] = [lambda c: LRU(), lambda c: LFU(), ARC]


def held(keys: list[int], capacity: int, policy: Policy) -> tuple[int, set[int]]:
    """Return the hits and what is held in the end."""
    cache = Cache(capacity)
    return replay(plain(keys), cache, policy).hits, set(cache.entries)


def test_lru_and_lfu_by_hand() -> None:
    assert held([1, 2, 3, 1, 4, 2], 3, LRU()) == (1, {1, 4, 2})
    assert held([1, 1, 2, 2, 3, 4, 5, 1, 3], 3, LFU()) == (3, {1, 2, 3})
    assert held([1, 1, 2, 3, 4, 1], 2, LFU()) == (2, {1, 4})


def most_hits(keys: list[int], capacity: int) -> int:
    """Return the most hits that any choice of victims has, by trying all of them."""
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for key in keys:
        after: dict[frozenset[int], int] = {}
        for state, hits in states.items():
            if key in state:
                following = [(state, hits + 1)]
            elif len(state) < capacity:
                following = [(state | {key}, hits)]
            else:
                following = [(state - {victim} | {key}, hits) for victim in state]
            for new, count in following:
                after[new] = max(after.get(new, 0), count)
        states = after
    return max(states.values())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=25), st.integers(1, 4))
def test_belady_has_the_most_hits_that_there_can_be(keys: list[int], capacity: int) -> None:
    assert held(keys, capacity, Belady(plain(keys)))[0] == most_hits(keys, capacity)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.integers(1, 6))
def test_belady_is_never_beaten(keys: list[int], capacity: int) -> None:
    best = held(keys, capacity, Belady(plain(keys)))[0]
    assert all(held(keys, capacity, make(capacity))[0] <= best for make in SIMPLE)


def test_belady_gives_up_first_what_expires_before_its_next_use() -> None:
    keys = np.array([1, 2, 3, 1, 2])
    ttls = np.array([2.0, 9, 9, 2, 9])
    trace = Trace(np.arange(5.0), keys, np.ones(5, np.int64), ttls, np.ones(5))
    assert replay(trace, Cache(2), Belady(trace)).hits == 1


class Published:
    """ARC of the paper's figure 4, line by line, for objects of one size; lists have the oldest first."""

    def __init__(self, c: int) -> None:
        self.c, self.p, self.hits = c, 0.0, 0
        self.t1, self.t2, self.b1, self.b2 = list[int](), list[int](), list[int](), list[int]()

    def replace(self, x: int) -> None:
        if self.t1 and ((x in self.b2 and len(self.t1) == self.p) or len(self.t1) > self.p):
            self.b1.append(self.t1.pop(0))
        else:
            self.b2.append(self.t2.pop(0))

    def ask(self, x: int) -> None:
        t1, t2, b1, b2 = self.t1, self.t2, self.b1, self.b2
        if x in t1 or x in t2:
            self.hits += 1
            (t1 if x in t1 else t2).remove(x)
        elif x in b1 or x in b2:
            if x in b1:
                self.p = min(self.c, self.p + max(1, len(b2) / len(b1)))
            else:
                self.p = max(0, self.p - max(1, len(b1) / len(b2)))
            self.replace(x)
            (b1 if x in b1 else b2).remove(x)
        else:
            self.new(x)
            t1.append(x)
            return
        t2.append(x)

    def new(self, x: int) -> None:
        everything = len(self.t1) + len(self.t2) + len(self.b1) + len(self.b2)
        if len(self.t1) + len(self.b1) == self.c:
            if len(self.t1) < self.c:
                self.b1.pop(0)
                self.replace(x)
            else:
                self.t1.pop(0)
        elif everything >= self.c:
            if everything == 2 * self.c:
                self.b2.pop(0)
            self.replace(x)


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(1, 6))
def test_arc_is_the_published_algorithm_for_objects_of_one_size(keys: list[int], capacity: int) -> None:
    ours, theirs = ARC(capacity), Published(capacity)
    for key in keys:
        theirs.ask(key)
    assert held(keys, capacity, ours)[0] == theirs.hits
    lists = [list(found) for found in (ours.once, ours.often, ours.gone_once, ours.gone_often)]
    assert lists == [theirs.t1, theirs.t2, theirs.b1, theirs.b2] and ours.p == pytest.approx(theirs.p)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(4, 14))
def test_arc_keeps_its_limits_with_objects_of_several_sizes(keys: list[int], capacity: int) -> None:
    array = np.array(keys)
    trace = Trace(np.arange(len(keys)) * 1.0, array, array % 4 + 1, array % 3 * 20.0 + 5, np.ones(len(keys)))
    policy, cache = ARC(capacity), Cache(capacity)

    class Watched(ARC):
        def stored(self, request: object) -> None:
            policy.stored(request)  # type: ignore[arg-type]
            (once, gone_once), (often, gone_often) = policy.sizes()
            assert once + often == cache.used_bytes <= capacity and once + gone_once <= capacity
            assert once + gone_once + often + gone_often <= 2 * capacity and 0 <= policy.p <= capacity

    watched = Watched(capacity)
    for name in ("hit", "missed", "victim", "expired"):
        setattr(watched, name, getattr(policy, name))
    replay(trace, cache, watched)


def test_without_an_answer_the_coldest_is_lru() -> None:
    trace = mixed(1, 600)
    ours, by_lru = Cache(500_000), Cache(500_000)
    found = replay(trace, ours, Coldest(ours, lambda question: None, 8))
    assert found == replay(trace, by_lru, LRU()) and found.evictions > 100
    assert list(ours.entries) == list(by_lru.entries)


def test_the_chosen_go_and_what_is_asked_is_what_is_held() -> None:
    asked: list[Question] = []

    def decide(question: Question) -> int:
        asked.append(question)
        return 0b110

    keys = np.array([1, 2, 3, 4])
    trace = Trace(np.arange(4.0), keys, np.array([2, 3, 3, 5]), np.full(4, 9.0), np.ones(4))
    cache = Cache(9)
    replay(trace, cache, Coldest(cache, decide, 4))
    assert list(cache.entries) == [1, 4] and len(asked) == 1
    assert asked[0].sizes_bytes.tolist() == [2, 3, 3, 0] and asked[0].needed_bytes == 4


def test_the_best_is_one_and_never_what_is_not_there() -> None:
    scores, sizes = np.array([0.2, 0.9, 0.9, 5.0]), np.array([7, 2, 3, 0])
    assert best(scores, sizes) == 0b0010 and best(-scores, sizes) == 0b0001


def test_a_choice_that_makes_too_little_room_is_asked_for_again() -> None:
    asked: list[int] = []

    def decide(question: Question) -> int:
        asked.append(question.needed_bytes)
        return 0b10

    trace = Trace(np.arange(4.0), np.arange(4), np.array([2, 3, 3, 5]), np.full(4, 9.0), np.ones(4))
    cache = Cache(9)
    replay(trace, cache, Coldest(cache, decide, 4))
    assert list(cache.entries) == [0, 3] and asked == [4, 1]
