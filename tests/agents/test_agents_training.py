"""Training: exact resume of every agent, evaluations that change nothing, and folders of other trainings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import agent_toys
import pytest
import torch

from whet.agents.training import CHECKPOINT, CURVE, POLICY, STATES, Training, judged, policy_of, request_of, train
from whet.core.errors import UnknownNameError
from whet.policies.spaces import AgentError
from whet.train.state import read_tensors

SMALL = "hidden=(8,), batch=8, begin_after=20, buffer=50, target_every=5"
AGENTS = {
    f"dqn({SMALL}, environments=2)": 60,
    f"rainbow({SMALL}, low=0.0, high=100.0, atoms=5)": 60,
    f"eau-de-dqn({SMALL})": 60,
    f"iterated-dqn({SMALL}, follow_every=3)": 60,
    "reinforce(hidden=(8,), episodes=2)": 150,
    "a2c(hidden=(8,))": 160,
    "ppo(hidden=(8,), length=8, epochs=2, minibatches=2)": 256,
    "pqn(hidden=(8,), length=8, epochs=2, minibatches=2)": 256,
}


class Killed(Exception):
    """Stands for a process that ends."""


def same(one: Path, other: Path) -> None:
    """Assert that two folders hold the same training, but for seconds."""
    (a, kept_a), (b, kept_b) = (read_tensors(folder / CHECKPOINT) for folder in (one, other))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    for kept in (kept_a, kept_b):
        kept.pop("seconds")
        for line in kept["curve"]:
            line.pop("seconds")
    assert kept_a == kept_b


@pytest.mark.parametrize("words", AGENTS)
def test_a_training_that_was_killed_comes_to_the_same_end(words: str, tmp_path: Path) -> None:
    training = Training(words, "CartPole-v1", AGENTS[words], seed=3, evaluate_every=AGENTS[words] // 3, episodes=2)
    whole = train(training, tmp_path / "whole", checkpoint_seconds=1e9)
    seen = []

    def kill(line: dict[str, Any]) -> None:
        seen.append(line)
        if len(seen) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(training, tmp_path / "killed", progress=kill, checkpoint_seconds=0.0)
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    resumed = train(training, tmp_path / "killed", checkpoint_seconds=1e9)
    same(tmp_path / "whole", tmp_path / "killed")
    assert resumed.returns == whole.returns and len(whole.curve) == len(resumed.curve) >= 2


def test_a_process_that_is_killed_goes_on(tmp_path: Path) -> None:
    """The same with a real kill, in the middle of a step, and Ctrl-C's checkpoint left out."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import agent_toys\n"
        "from pathlib import Path; from whet.agents.training import *\n"
        "t = Training('dqn(hidden=(), begin_after=9)', 'WhetChain-v0', 300, 0, 100, 2)\n"
        "train(t, Path(sys.argv[2]), progress=lambda line: line['steps'] < 200 or os._exit(9), checkpoint_seconds=0)\n"
    )
    place, folder = str(Path(agent_toys.__file__).parent), tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", code, place, str(folder)], check=False, timeout=300)
    assert done.returncode == 9 and len((folder / CURVE).read_text().splitlines()) == 1
    training = Training("dqn(hidden=(), begin_after=9)", "WhetChain-v0", 300, 0, 100, 2)
    train(training, folder)
    train(training, tmp_path / "whole")
    same(tmp_path / "whole", folder)


def test_evaluations_change_nothing_about_a_training(tmp_path: Path) -> None:
    words, learners = next(iter(AGENTS)), []
    for every in (7, 60):
        train(Training(words, "CartPole-v1", 60, 0, every, 2), tmp_path / str(every))
        tensors, _ = read_tensors(tmp_path / str(every) / CHECKPOINT)
        learners.append({k: v for k, v in tensors.items() if k.startswith("learner.")})
    assert all(torch.equal(learners[0][name], learners[1][name]) for name in learners[0])


def test_the_folder_holds_the_best_policy_and_states(tmp_path: Path) -> None:
    words = "dqn(hidden=(), learning_rate=0.05, discount=0.8, begin_after=60, target_every=10, buffer=500)"
    trained = train(Training(words, "WhetChain-v0", 600, 0, 100, 4), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / CURVE).read_text().splitlines()]
    assert lines == trained.curve and [line["steps"] for line in lines] == [100, 200, 300, 400, 500, 600]
    assert trained.returns.mean == 1.0 and len(trained.returns.values) == 100 == len(judged(tmp_path, 100, 1).values)
    _, metadata = read_tensors(tmp_path / POLICY)
    assert metadata["evaluation"] == max(line["evaluation"] for line in lines)
    states = read_tensors(tmp_path / STATES)[0]["states"]
    assert states.shape == (500, 4) and torch.equal(states.sum(1), torch.ones(500))
    assert policy_of(tmp_path)(torch.eye(4)).argmax(1).tolist() == [1, 1, 1, 1]
    assert request_of(tmp_path)[1].states == 4


def test_it_ends_where_it_is_good_enough(tmp_path: Path) -> None:
    words = "dqn(hidden=(), learning_rate=0.05, discount=0.8, begin_after=60, target_every=10)"
    training = Training(words, "WhetChain-v0", 5000, 0, 200, 4, stop_at=1.0)
    assert train(training, tmp_path).curve[-1]["steps"] < 2000
    assert train(training, tmp_path).curve[-1]["evaluation"] == 1.0, "what has ended is not gone on with"


def test_a_folder_of_another_training_is_refused_and_restarted(tmp_path: Path) -> None:
    words = "dqn(hidden=(), begin_after=9)"
    train(Training(words, "WhetChain-v0", 20, 0, 20, 2), tmp_path)
    message = "holds a training with seed=0, not 1: give another --out, or --restart"
    with pytest.raises(AgentError, match=re.escape(message)):
        train(Training(words, "WhetChain-v0", 20, 1, 20, 2), tmp_path)
    train(Training(words, "WhetChain-v0", 20, 1, 20, 2), tmp_path, restart=True)
    assert request_of(tmp_path)[0].seed == 1


def test_folders_without_a_policy_and_unknown_agents(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"holds no training of an agent: there is no training\.json"):
        policy_of(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown agent 'dnq'; did you mean 'dqn'"):
        Training("dnq", "CartPole-v1").made()
    with pytest.raises(AgentError, match="was trained for"):
        train(Training("dqn(hidden=(), begin_after=9)", "WhetChain-v0", 20, 0, 20, 2), tmp_path)
        judged(tmp_path, 2, 0, "Acrobot-v1")
