"""Episodes to be looked at: those that the evaluation judges by, with their actions and texts."""

from __future__ import annotations

import re
from pathlib import Path

import agent_toys
import pytest

from whet.agents.play import played
from whet.agents.training import Training, judged, train
from whet.policies.spaces import AgentError

assert agent_toys


def test_episodes_are_those_of_the_evaluation(tmp_path: Path) -> None:
    train(Training("dqn(hidden=(4,), begin_after=30)", "CartPole-v1", 40, 0, 40, 2), tmp_path)
    found = list(played(tmp_path, 3, seed=5))
    assert tuple(e.gained for e in found) == judged(tmp_path, 3, 5).values
    assert all(len(e.actions) == e.gained and not e.cut for e in found)


def test_a_text_of_each_state(tmp_path: Path) -> None:
    train(Training("dqn(hidden=(), begin_after=9)", "FrozenLake-v1", 20, 0, 20, 2), tmp_path)
    (episode,) = played(tmp_path, 1, 0, render="ansi")
    assert len(episode.pictures) == len(episode.actions) and "FFF" in episode.pictures[0]
    message = "environment 'FrozenLake-v1' cannot be rendered as 'film'; it has: human, ansi, rgb_array"
    with pytest.raises(AgentError, match=re.escape(message)):
        list(played(tmp_path, 1, 0, render="film"))
