"""The union of six: all on by default, each off by its switch, and together they find the chain's values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from agent_toys import Chain, best_values

from whet.agents.dqn import DQN
from whet.agents.environments import Environments
from whet.agents.rainbow import Rainbow

OFF = {
    "double": False, "dueling": False, "prioritized": False, "n_steps": 1, "noisy": False, "distribution": "none",
}  # fmt: skip


def test_all_six_are_on_and_off_they_leave_a_deep_q_network() -> None:
    rainbow, plain = Rainbow(), DQN()
    assert all(getattr(rainbow, name) != off == getattr(plain, name) for name, off in OFF.items())
    assert vars(replace(rainbow, **OFF)) == vars(plain)
    assert rainbow.n_steps == 3 and rainbow.distribution == "categorical"


@pytest.mark.parametrize("switch", ["", "noisy"])
def test_it_finds_the_values_of_the_chain(switch: str) -> None:
    agent = Rainbow(
        hidden=(), learning_rate=0.03, discount=0.8, batch=32, buffer=400, begin_after=60, target_every=10,
        explore_for=0.3, last_epsilon=0.05, low=0.0, high=1.0, atoms=11,
    )  # fmt: skip
    agent = replace(agent, **({switch: OFF[switch]} if switch else {}))
    learner = agent.begin(Environments(Chain, 1, seed=1, name="chain"), 900, seed=0)
    while learner.environments.steps < 900:
        learner.advance()
    with torch.no_grad():
        found = learner.policy()(torch.eye(4)).numpy()
    assert np.abs(found[:, 1] - best_values(0.8)[:, 1]).max() < 0.12 and found.argmax(1).tolist() == [1, 1, 1, 1]
