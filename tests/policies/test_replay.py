"""The replay buffer: a ring, drawn uniformly, and refused where memory does not hold it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from whet.policies import replay
from whet.policies.replay import Replay, Transitions, bytes_of, free_bytes
from whet.policies.spaces import AgentError, Spaces

SPACES = Spaces((2,), "float32", 3)


def transitions(first: int, count: int) -> Transitions:
    n = np.arange(first, first + count)
    seen = np.stack([n, -n], 1).astype(np.float32)
    return Transitions(seen, n % 3, n.astype(np.float32), seen + 1, np.full(count, 0.5, np.float32))


def test_the_oldest_make_place() -> None:
    buffer = Replay(SPACES, 5)
    assert buffer.add(transitions(0, 3)).tolist() == [0, 1, 2] and len(buffer) == 3
    assert buffer.add(transitions(3, 4)).tolist() == [3, 4, 0, 1] and len(buffer) == 5
    assert buffer.rewards.tolist() == [5, 6, 2, 3, 4]
    one = buffer.rows(np.array([1]))
    assert one.observations.tolist() == [[6, -6]] and one.following.tolist() == [[7, -5]]
    assert one.actions.tolist() == [0]


def test_draws_are_uniform_over_what_is_there() -> None:
    buffer = Replay(SPACES, 100)
    buffer.add(transitions(0, 4))
    counts = np.bincount(buffer.drawn(8000, torch.Generator().manual_seed(0)), minlength=4)
    assert len(counts) == 4 and np.abs(counts - 2000).max() < 4 * np.sqrt(8000 * 3 / 16)


def test_one_that_memory_does_not_hold_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes() > 2**20 and bytes_of(Spaces((84, 84, 4), "uint8", 2), 10) == 10 * (2 * 84 * 84 * 4 + 16)
    monkeypatch.setattr(replay, "free_bytes", lambda: 2_000_000_000)
    message = (
        "a replay buffer of 100,000,000 transitions takes 3.2 GB, and 2.0 GB of memory are free: "
        "at most buffer=50000000 fits here"
    )
    with pytest.raises(AgentError, match=re.escape(message)):
        Replay(SPACES, 100_000_000)


def test_it_comes_back_with_its_place_in_the_ring() -> None:
    ours, other = Replay(SPACES, 5), Replay(SPACES, 5)
    ours.add(transitions(0, 7))
    other.restore({k: v.clone() for k, v in ours.tensors().items()})
    for buffer in (ours, other):
        buffer.add(transitions(7, 2))
    assert other.rewards.tolist() == ours.rewards.tolist() == [5, 6, 7, 8, 4] and len(other) == 5
