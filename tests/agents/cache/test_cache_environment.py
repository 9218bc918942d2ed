"""The environment of a cache: its rewards sum up to the hits, and each is credited to what caused it."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.agents.cache.environment import CacheEviction
from whet.agents.cache.eviction import LRU, replay
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import Trace, mixed, plain
from whet.agents.environments import Environments
from whet.core.errors import UnknownNameError


def played(env: CacheEviction, actions: list[int]) -> tuple[list[float], int]:
    """Return the rewards of an episode whose actions come round, and the hits before its first step."""
    env.reset(seed=0)
    before, rewards, ended = env.hits, list[float](), False
    while not ended:
        _, reward, ended, _, _ = env.step(actions[len(rewards) % len(actions)])
        rewards.append(reward)
    return rewards, before


def test_a_point_is_lost_by_what_would_have_been_hit_and_nothing_else() -> None:
    # Two places: 3 evicts 1 or 2, and of these only 1 comes again.
    log = plain([1, 2, 3, 3, 1])
    keep, lose = (played(CacheEviction(capacity_bytes=2, candidates=2, logs=[log]), [a]) for a in (1, 0))
    assert keep == ([2.0], 0)
    assert lose == ([1.0, 0.0], 0)


def test_what_expires_first_is_no_loss() -> None:
    log = Trace(np.array([0.0, 1, 2, 9]), np.array([1, 2, 3, 1]), np.ones(4, np.int64), np.full(4, 5.0), np.ones(4))
    assert played(CacheEviction(capacity_bytes=2, candidates=2, logs=[log]), [0])[0][0] == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=80), st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.integers(1, 9),
)  # fmt: skip
def test_the_return_is_the_hits_whatever_is_done(keys: list[int], actions: list[int], capacity: int) -> None:
    array = np.array(keys)
    log = Trace(np.arange(len(keys)) * 1.0, array, array % 3 + 1, array % 4 * 9.0 + 2, np.ones(len(keys)))
    env = CacheEviction(capacity_bytes=capacity, candidates=4, logs=[log])
    rewards, before = played(env, actions)
    assert sum(rewards) == env.hits - before
    assert len(env.lost) == 0


def test_always_the_coldest_is_lru() -> None:
    env = CacheEviction(requests=700)
    played(env, [0])
    assert env.hits == replay(env.trace, Cache(env.capacity_bytes), LRU()).hits > 0


def test_an_action_without_a_candidate_evicts_the_coldest() -> None:
    env = CacheEviction(capacity_bytes=2, candidates=4, logs=[plain([1, 2, 3, 1, 2])])
    assert played(env, [3])[0] == played(env, [0])[0] != played(env, [1])[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_finds_nothing_wrong_and_names_know_their_traces() -> None:
    check_env(CacheEviction(requests=300), skip_render_check=True)
    assert Environments("whet/CacheEvictionScan-v0").spaces.shape == (16, 6)
    assert gymnasium.make("whet/CacheEvictionScan-v0").unwrapped.kind == "scan"
    assert gymnasium.make("whet/CacheEviction-v0").unwrapped.kind == "mixed"
    with pytest.raises(UnknownNameError, match="did you mean 'mixed'"):
        CacheEviction("mixd")


def test_an_episodes_seed_draws_its_trace() -> None:
    env = CacheEviction(requests=100)
    first, _ = env.reset(seed=1)
    trace = env.trace
    again, _ = env.reset(seed=1)
    assert np.array_equal(first, again) and np.array_equal(trace.keys, env.trace.keys)
    env.reset(seed=2)
    assert not np.array_equal(trace.keys, env.trace.keys) and len(env.trace) == len(mixed(0, 100))
