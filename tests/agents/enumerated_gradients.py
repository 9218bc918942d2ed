"""Policy gradients by enumeration: the mean over actions of what one step with each gives, against the exact one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from whet.agents.rollout import Rollout

REWARDS = torch.tensor([1.0, 3.0])
STATE = 2


def one_step(action: int) -> Rollout:
    """Return one step from a state of the chain that an action ends, with its reward."""
    seen, yes = np.eye(4, dtype=np.float32)[STATE][None, None], np.array([[True]])
    reward = np.array([[float(REWARDS[action])]], np.float32)
    return Rollout(seen, np.array([[action]]), reward, seen, yes, yes, (float(reward[0, 0]),))


def mean_gradient(actor: nn.Module, loss: Callable[[Rollout], Tensor]) -> Tensor:
    """Return the gradient of losses with respect to the policy, each action weighted by its probability, flat."""
    chances = actor(torch.eye(4)[STATE][None]).softmax(1)[0].detach()
    total = sum(chances[a] * _flat(actor, loss(one_step(a))) for a in (0, 1))
    assert isinstance(total, Tensor)
    return total


def exact_gradient(actor: nn.Module) -> Tensor:
    """Return the gradient of the expected reward, sum_a pi(a) r(a), with respect to the policy, flat."""
    return _flat(actor, (actor(torch.eye(4)[STATE][None]).softmax(1)[0] * REWARDS).sum())


def _flat(actor: nn.Module, value: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(actor.parameters()))])
