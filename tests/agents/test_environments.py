"""Environments: what cannot be played is named, and a state comes back by playing its actions again."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from agent_toys import Broken, Chain

from whet.agents.environments import Environments, maker, refuse_other
from whet.policies.spaces import AgentError, Spaces


@pytest.mark.parametrize(
    "breaks, message",
    [
        ("reward", "'toy' gave the reward nan in step 2 of an episode, for action 1"),
        ("shape", "'toy' gave an observation of shape (3,); its space says (2,)"),
        ("finite", "gave an observation that is not finite: [nan nan]"),
        ("actions", "has actions Box(-1.0, 1.0, (1,), float32): agents choose among finitely many, Discrete(n)"),
        ("observations", "has observations Dict('speed': Box(-1.0, 1.0, (2,), float32)): agents see vectors"),
    ],
)
def test_what_an_environment_breaks_is_named(breaks: str, message: str) -> None:
    with pytest.raises(AgentError, match=re.escape(message)):
        environments = Environments(partial(Broken, breaks), 2, name="toy")
        for _ in range(5):
            environments.step(np.array([1, 1]))


@pytest.mark.parametrize(
    "name, message",
    [
        ("CartPol-v1", "unknown environment 'CartPol-v1'; did you mean 'CartPole-v1'?"),
        ("Pendulum-v1", "environment 'Pendulum-v1' has actions Box"),
        ("nowhere_at_all:Game-v0", "unknown environment 'nowhere_at_all:Game-v0'"),
        ("ALE/Pong-v5", "is of the package 'ale-py', which is not installed"),
    ],
)
def test_a_name_that_cannot_be_played(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.agents import environments

    there = environments.find_spec
    monkeypatch.setattr(environments, "find_spec", lambda m: None if m == "ale_py" else there(m))
    with pytest.raises(AgentError, match=re.escape(message)):
        Environments(name)


def test_without_gymnasium_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.agents import environments

    monkeypatch.setattr(environments, "find_spec", lambda name: None)
    with pytest.raises(AgentError, match=re.escape("pip install 'whet-nn[rl]'")):
        maker("CartPole-v1")


def test_a_state_comes_back_by_its_actions() -> None:
    rng = np.random.default_rng(0)
    ours, other = Environments("CartPole-v1", 3, seed=7), Environments("CartPole-v1", 3, seed=7)
    for _ in range(60):
        ours.step(rng.integers(0, 2, 3))
    other.restore(ours.tensors())
    assert other.steps == 180 and np.array_equal(other.observations, ours.observations)
    for _ in range(60):
        actions = rng.integers(0, 2, 3)
        one, two = ours.step(actions), other.step(actions)
        assert np.array_equal(one.following, two.following) and one.returns == two.returns
    assert np.array_equal(other.observations, ours.observations)


def test_an_environment_by_chance_is_not_resumed() -> None:
    ours = Environments(partial(Broken, "chance", 1))
    ours.step(np.array([0]))
    with pytest.raises(AgentError, match="did not come to the same state"):
        Environments(partial(Broken, "chance", 1)).restore(ours.tensors())


def test_ends_are_told_apart_and_episodes_begin_anew() -> None:
    environments = Environments(partial(Chain, most_steps=2), 1, seed=0)
    seen, terminated, cut = [], 0, 0
    for _ in range(200):
        state = int(environments.observations[0].argmax())
        steps = environments.step(np.array([0 if state < 3 else 1]))
        seen.append(steps.returns)
        terminated += int(steps.terminated[0])
        cut += int(steps.ended[0] and not steps.terminated[0])
        assert bool(steps.ended[0]) == bool(steps.returns)
        assert not steps.terminated[0] or steps.returns == (1.0,)
    assert terminated > 20 and cut > 20 and terminated == sum(value for each in seen for value in each)


def test_states_become_vectors_with_a_single_one() -> None:
    spaces = Environments(Chain, 2).spaces
    row = spaces.empty(1)
    spaces.write(2, row[0], "chain")
    assert spaces == Spaces((4,), "float32", 2, 4) and row.tolist() == [[0, 0, 1, 0]]


def test_other_spaces_are_refused() -> None:
    message = "shape (4,) and takes 2 actions; the policy was trained for (6,) and 3"
    with pytest.raises(AgentError, match=re.escape(message)):
        refuse_other(Spaces((4,), "float32", 2), Spaces((6,), "float32", 3), "CartPole-v1")
