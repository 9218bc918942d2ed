"""A policy as a task: its quality is what it gains when it is played, and everything else is bad input."""

from __future__ import annotations

from pathlib import Path

import agent_toys
import pytest
import torch

from whet import lift, tasks
from whet.agents.training import Training, train
from whet.core.errors import TaskError
from whet.core.task import predict
from whet.data.bind import bind
from whet.policies.spaces import AgentError

assert agent_toys
WORDS = "dqn(hidden=(16,), learning_rate=0.01, discount=0.8, begin_after=60, target_every=10)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("policy")
    train(Training(WORDS, "WhetChain-v0", 700, 0, 350, 4), place)
    return place


def test_its_quality_is_its_return_in_other_episodes_than_it_was_chosen_by(folder: Path) -> None:
    bundle = tasks.get(f"policy(folder='{folder}', episodes=12)")
    module, example = bundle.trained()
    task = bind(bundle.task, lift(module, example))
    assert task.played is not None and task.metric_name == "return" and task.drop == "relative"
    assert task.played(module, "val").tolist() == [1.0] * 12
    left = lambda observations: torch.tensor([[1.0, 0.0]]).expand(len(observations), 2)  # noqa: E731
    assert task.played(left, "val").sum() == 0
    assert task.score(*predict(module, bundle.task.val)) == 1.0, "labels are the policy's own choices"


def test_episodes_of_validation_and_test_differ(folder: Path) -> None:
    task = tasks.get("policy(episodes=12)", folder).task
    firsts = {}
    for name in ("val", "test"):
        seen: list[torch.Tensor] = []
        assert task.played is not None
        task.played(lambda o, s=seen: (s.append(o.clone()), torch.tensor([[0.0, 1.0]]).expand(len(o), 2))[1], name)
        firsts[name] = seen[0]
    assert not torch.equal(firsts["val"], firsts["test"])


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="needs the folder of a training"):
        tasks.get("policy")
    with pytest.raises(AgentError, match="holds no training"):
        tasks.get("policy", tmp_path)
    train(Training("dqn(hidden=(), begin_after=9)", "WhetChain-v0", 40, 0, 40, 2), tmp_path)
    with pytest.raises(TaskError, match="holds 40 states, and 100 are needed"):
        tasks.get("policy", tmp_path)
