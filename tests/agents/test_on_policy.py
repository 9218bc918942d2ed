"""What on-policy learners share: observations that are kept, actions by the policy, a gradient of bounded length."""

from __future__ import annotations

import numpy as np
import torch
from agent_toys import Chain

from whet.agents import on_policy
from whet.agents.environments import Environments
from whet.agents.on_policy import Actor, Recent


def test_the_last_observations_are_kept(monkeypatch: object) -> None:
    recent = Recent(Environments(Chain))
    rows = np.arange(4 * 3000, dtype=np.float32).reshape(3000, 4)
    for part in np.split(rows, 3):
        recent.add(part)
    assert np.array_equal(recent.rows, rows[-on_policy.KEPT :])


def test_actions_follow_the_policy() -> None:
    actor = Actor(Environments(Chain), (), seed=0)
    actor.network.actor[1].bias.data = torch.tensor([0.0, 2.0])
    seen = np.eye(4, dtype=np.float32)[np.zeros(4000, int)]
    wanted = float(actor.policy()(torch.eye(4)[:1]).softmax(1)[0, 1])
    assert abs(actor.choose(seen).mean() - wanted) < 4 * 0.5 / np.sqrt(4000)


def test_a_step_is_cut_to_the_largest_gradient() -> None:
    actor = Actor(Environments(Chain), (), seed=0)
    optimizer = torch.optim.SGD(actor.network.parameters(), 1.0)
    before = torch.cat([p.detach().flatten().clone() for p in actor.network.parameters()])
    actor.step(1e6 * actor.network.critic(torch.eye(4)).sum(), optimizer, 0.5)
    after = torch.cat([p.detach().flatten() for p in actor.network.parameters()])
    assert abs(float((after - before).norm()) - 0.5) < 1e-3
