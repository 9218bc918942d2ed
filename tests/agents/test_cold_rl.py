"""Cold-RL: it learns the best values from what another policy did, and which object of a loop goes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from agent_toys import Chain, best_values

from whet.agents.cache.environment import CacheEviction
from whet.agents.cache.eviction import LRU, Belady, replay
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import plain
from whet.agents.cold_rl import ColdRL
from whet.agents.dqn import DQN
from whet.agents.environments import Environments
from whet.agents.evaluation import Episodes
from whet.agents.training import scores_of
from whet.core.errors import UnknownNameError

ON = {"double": False, "dueling": False, "behaviour": "own"}


def test_it_is_a_double_dueling_network_that_does_not_act() -> None:
    cold, plainly = ColdRL(), DQN()
    assert all(getattr(cold, name) != off == getattr(plainly, name) for name, off in ON.items())
    kept = {name: getattr(plainly, name) for name in ("discount", "begin_after", "hidden")}
    assert vars(replace(cold, **ON, **kept)) == vars(plainly)
    with pytest.raises(UnknownNameError, match="unknown behaviour 'frist'; did you mean 'first'"):
        ColdRL(behaviour="frist")  # type: ignore[arg-type]


def test_values_are_the_best_ones_whoever_acts() -> None:
    """The logged policy goes left three times in four; its own values are far from those that are learned."""
    agent = ColdRL(
        (), learning_rate=0.05, discount=0.8, buffer=900, begin_after=60, update_every=2, target_every=10, explore=0.5
    )
    learner = agent.begin(Environments(partial(Chain, most_steps=8), 1, seed=1, name="chain"), 1200, seed=0)
    while learner.environments.steps < 1200:
        learner.advance()
    with torch.no_grad():
        found = learner.policy()(torch.eye(4)).numpy()
    assert np.abs(found - best_values(0.8)).max() < 0.06
    taken = learner.replay.tensors()["actions"].double()
    assert float(taken.mean()) == pytest.approx(0.25, abs=0.05)


def test_in_a_loop_it_does_as_well_as_foresight_and_lru_hits_nothing() -> None:
    log, size = plain([0, 1, 2, 3] * 12), 3
    make = partial(CacheEviction, capacity_bytes=size, candidates=size, logs=[log])
    agent = ColdRL((16,), learning_rate=0.01, begin_after=100, update_every=2, target_every=20)
    learner = agent.begin(Environments(make, 1, seed=0, name="loop"), 700, seed=0)
    while learner.environments.steps < 700:
        learner.advance()
    found = Episodes(make, 1).play(scores_of(learner.policy())).mean
    assert replay(log, Cache(size), LRU()).hits == 0
    assert found == replay(log, Cache(size), Belady(log)).hits > 20
