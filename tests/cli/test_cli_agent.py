"""`whet agent`: train, go on, list, judge and play from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from whet.agents.training import policy_of
from whet.cli.main import app
from whet.core.errors import UnknownNameError
from whet.policies.spaces import AgentError

DQN = "dqn(hidden=(8,), begin_after=30)"
WORDS = ["agent", "train", DQN, "--env", "CartPole-v1", "--steps", "60", "--episodes", "2"]


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_train_judge_and_play(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    told = run(*WORDS, "--out", folder)
    assert "Mean return" in told and "over 100 episodes" in told and "curve.html" in told
    assert (tmp_path / "run" / "curve.html").is_file()
    again = json.loads(run(*WORDS, "--out", folder, "--json"))
    assert again["episodes"] == 100 and len(again["curve"]) == 1
    judged = json.loads(run("agent", "eval", folder, "--json"))
    assert judged["mean"] == again["mean"] and judged["low"] < judged["mean"] < judged["high"]
    assert "one episode has no interval" in run("agent", "eval", folder, "--episodes", "1")
    assert "episode 1: return" in run("agent", "play", folder, "--episodes", "2")
    episode = json.loads(run("agent", "play", folder, "--json"))
    assert episode["return"] == len(episode["actions"])
    exported = run("agent", "export", folder, "--out", str(tmp_path / "out")).strip()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    states, policy = torch.randn(5, 4), policy_of(tmp_path / "run")
    (scores,) = session.run(None, {session.get_inputs()[0].name: states.numpy()})
    assert torch.allclose(torch.from_numpy(scores), policy(states), atol=1e-5)


def test_agents_and_parts_are_listed() -> None:
    told = {row["name"]: row for row in json.loads(run("agent", "list", "--json"))}
    assert told["agents.dqn"]["reach"] == "whet agent train dqn --env CartPole-v1"
    assert "rainbow" in run("agent", "list") and told["agents.dueling"]["family"] == "agent-part"


@pytest.mark.parametrize(
    "words, error, message",
    [
        (["agent", "train", "dnq", "--env", "CartPole-v1"], UnknownNameError, "did you mean 'dqn'"),
        (["agent", "train", "dqn", "--env", "CartPol-v1"], AgentError, "did you mean 'CartPole-v1'"),
        (["agent", "train", "dqn", "--env", "Pendulum-v1"], AgentError, "'Pendulum-v1' has actions Box"),
        (["agent", "train", "dqn(buffer=10**18)", "--env", "CartPole-v1"], Exception, "cannot be read"),
        (["agent", "train", "dqn(buffer=1000000000000)", "--env", "CartPole-v1"], AgentError, "GB of memory are free"),
    ],
)
def test_wrong_words(words: list[str], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        CliRunner().invoke(app, [*words, "--out", str(tmp_path)], catch_exceptions=False)
