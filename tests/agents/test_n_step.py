"""n-step transitions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from whet.agents.environments import Steps
from whet.agents.n_step import NStep
from whet.policies.replay import Transitions
from whet.policies.spaces import Spaces

SPACES = Spaces((1,), "float32", 2)


def step(maker: NStep, state: float, reward: float, terminated: bool = False, cut: bool = False) -> Transitions:
    def row(value: object, kind: type) -> np.ndarray:
        return np.array([value], kind)

    ends = row(terminated, bool), row(terminated or cut, bool)
    steps = Steps(row(reward, np.float32), np.array([[state + 1]], np.float32), *ends, ())
    return maker.add(np.array([[state]], np.float32), row(int(state) % 2, np.int64), steps)


def test_rewards_of_n_steps_are_discounted_and_summed() -> None:
    maker = NStep(SPACES, 1, 3, 0.5)
    assert len(step(maker, 0, 1.0)) == 0 and len(step(maker, 1, 2.0)) == 0
    done = step(maker, 2, 4.0)
    assert done.rewards.tolist() == [1 + 0.5 * 2 + 0.25 * 4] and done.discounts.tolist() == [0.125]
    assert done.observations.tolist() == [[0]] and done.following.tolist() == [[3]] and done.actions.tolist() == [0]
    assert step(maker, 3, 8.0).rewards.tolist() == [2 + 0.5 * 4 + 0.25 * 8]


@pytest.mark.parametrize("terminated, discounts", [(True, [0, 0]), (False, [0.25, 0.5])])
def test_what_is_left_at_the_end_has_fewer_steps(terminated: bool, discounts: list[float]) -> None:
    maker = NStep(SPACES, 1, 3, 0.5)
    step(maker, 0, 1.0)
    done = step(maker, 1, 2.0, terminated, not terminated)
    assert done.rewards.tolist() == [2.0, 2.0] and done.discounts.tolist() == discounts
    assert done.following.tolist() == [[2], [2]]
    assert len(step(maker, 5, 1.0)) == 0, "nothing of the last episode is left"


def test_one_step_is_the_transition_itself() -> None:
    done = step(NStep(SPACES, 1, 1, 0.9), 3, 7.0)
    assert done.rewards.tolist() == [7] and done.discounts.tolist() == [np.float32(0.9)]


def test_what_waits_comes_back() -> None:
    ours, other = NStep(SPACES, 1, 3, 0.5), NStep(SPACES, 1, 3, 0.5)
    for state in (0, 1):
        step(ours, state, 1.0 + state)
    other.restore({k: v.clone() for k, v in ours.tensors().items()})
    assert step(other, 2, 4.0).rewards.tolist() == step(ours, 2, 4.0).rewards.tolist() == [3.0]
