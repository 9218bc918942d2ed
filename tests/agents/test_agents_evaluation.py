"""Evaluation: fixed episodes, known returns, an interval, and no random state but its own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from agent_toys import Broken, Chain
from scipy import stats

from whet.agents.evaluation import Episodes, Returns
from whet.policies.spaces import Array


class Right:
    """Scores that choose the last action, as tensors have them."""

    def __call__(self, seen: Array) -> Array:
        scores = np.zeros((len(seen), 2))
        scores[:, 1] = 1.0
        return scores


def test_episodes_are_the_same_for_every_policy() -> None:
    seen: list[Array] = []

    def choose(observations: Array) -> Array:
        seen.append(observations.copy())
        return Right()(observations)

    one, two = Episodes(Chain, 30).play(choose), Episodes(Chain, 30).play(choose)
    firsts = [each for each in seen if len(each) == 30]
    assert one == two == Returns((1.0,) * 30) and np.array_equal(firsts[0], firsts[-1])
    assert len(np.unique(firsts[0].argmax(1))) == 4, "they begin in different states"
    other: list[Array] = []
    Episodes(Chain, 30, seed=1).play(lambda o: (other.append(o.copy()), Right()(o))[1])
    assert not np.array_equal(other[0], firsts[0])


def test_an_episode_without_an_end_is_cut_and_told() -> None:
    assert Episodes(Broken, 2, most_steps=7).play(Right()) == Returns((7.0, 7.0), 2)


def test_random_states_of_others_stay() -> None:
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    Episodes("CartPole-v1", 3).play(Right())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1] and random.getstate() == before[2]


def test_the_interval_is_students() -> None:
    values = (3.0, 5.0, 4.0, 9.0)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert Returns(values).interval() == pytest.approx((low, high)) and Returns((1.0,)).interval() is None
