"""Iterated Q-networks: several Bellman updates in a row are learned at once, each the target of the next."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from whet.agents.dqn import DQN, DQNLearner
from whet.agents.environments import Environments
from whet.agents.state import Part
from whet.core.checks import whole
from whet.policies.replay import Transitions
from whet.policies.spaces import AgentError, Array


@dataclass(frozen=True)
class IteratedDQN(DQN):
    r"""A chain of K networks, each of which learns one Bellman update of the one before it.

    With :math:`\bar\theta_0` the target network, network k descends the loss of

    .. math:: r + \gamma \max_{a'} Q(s', a'; \bar\theta_{k-1}) - Q(s, a; \theta_k),  k = 1, \dots, K,

    so the chain holds K consecutive updates of the target where a deep Q-network holds one. Every `follow_every` steps
    the targets in the chain, :math:`\bar\theta_k` for k > 0, are set to their networks; every `target_every` steps the
    chain moves on by one: :math:`\bar\theta_0 \leftarrow \theta_1`, :math:`\theta_k \leftarrow \theta_{k+1}`, and the
    last goes on as it is. Each step is taken by one of the networks, all equally likely; the last is deployed. With
    `length=1` it is a deep Q-network.

    Vincent, Palenicek, Belousov, Peters and D'Eramo (2025), Iterated Q-Network: Beyond One-Step Bellman Updates in Deep
    Reinforcement Learning. Here the networks share no layers, and optimizers stay where they are when the chain moves.
    """

    length: int = 3
    follow_every: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("length", self.length)
        whole("follow_every", self.follow_every)
        if self.prioritized or self.noisy:
            raise AgentError(
                "iterated-dqn has an error of each network for a transition: prioritized and noisy are not for it."
            )

    def begin(self, environments: Environments, steps: int, seed: int) -> IteratedDQNLearner:
        """Return a learner that is to take `steps` steps."""
        return IteratedDQNLearner(self, environments, steps, seed)


class IteratedDQNLearner(DQNLearner):
    """A chain of deep Q-networks that learns on environments."""

    agent: IteratedDQN

    def __init__(self, agent: IteratedDQN, environments: Environments, steps: int, seed: int) -> None:
        super().__init__(agent, environments, steps, seed)
        self.earlier = nn.ModuleList(copy.deepcopy(self.network) for _ in range(agent.length - 1))
        self.between = nn.ModuleList(copy.deepcopy(self.network) for _ in range(agent.length - 1))
        self.optimizers = [
            torch.optim.Adam(network.parameters(), agent.learning_rate, fused=True) for network in self.earlier
        ]

    @property
    def chain(self) -> list[nn.Module]:
        """The networks that learn, that of the first update first."""
        return [*self.earlier, self.network]

    @property
    def targets(self) -> list[nn.Module]:
        """The target of each network of the chain."""
        return [self.target, *self.between]

    def _acting(self) -> nn.Module:
        if self.agent.length == 1:
            return self.network
        return self.chain[int(torch.randint(self.agent.length, (1,), generator=self.generator))]

    def _learn(self, rows: Array, drawn: Transitions) -> None:
        optimizers = [*self.optimizers, self.optimizer]
        for network, target, optimizer in zip(self.chain, self.targets, optimizers, strict=True):
            self._descend(network, optimizer, target, rows, drawn)
        if (int(self.updates) + 1) % self.agent.follow_every == 0:
            self._follow()

    def _follow(self) -> None:
        """Set the targets in the chain to their networks."""
        for network, target in zip(self.earlier, self.between, strict=True):
            target.load_state_dict(network.state_dict())

    def _renew(self) -> None:
        """Move the chain on by one update."""
        chain = self.chain
        self.target.load_state_dict(chain[0].state_dict())
        for network, following in pairwise(chain):
            network.load_state_dict(following.state_dict())
        self._follow()

    def _parts(self) -> dict[str, Part]:
        others = {f"optimizer_{place}": one for place, one in enumerate(self.optimizers)}
        return {**super()._parts(), "earlier": self.earlier, "between": self.between, **others}
