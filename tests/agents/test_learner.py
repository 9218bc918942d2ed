"""What all agents are: the rows of the catalogue make agents, and networks begin by a seed of their own."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from agent_toys import Chain

from whet import catalogue
from whet.agents.environments import Environments

AGENTS = [m.name for m in catalogue.METHODS if m.family == "agent"]


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_of_the_catalogue_begins_learns_and_gives_a_policy(name: str) -> None:
    agent = catalogue.make(name, "agent")
    with pytest.raises(FrozenInstanceError):
        agent.discount = 0.5
    environments = Environments(Chain, agent.environments, seed=0, name="chain")
    before = torch.get_rng_state()
    learner = agent.begin(environments, 1000, seed=0)
    assert torch.equal(torch.get_rng_state(), before), "torch's own random state is not touched"
    while environments.steps < 5:
        learner.advance()
    untrained = agent.policy(environments.spaces)
    assert untrained(torch.eye(4)).shape == learner.policy()(torch.eye(4)).shape == (4, 2)
    assert untrained.state_dict().keys() == learner.policy().state_dict().keys()
    assert 0 < len(learner.states(5)) <= 5
    learner.restore({k: v.clone() for k, v in learner.tensors().items()})
