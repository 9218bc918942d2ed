"""EauDeQN: a deep Q-network that becomes as sparse as its learning allows, while it learns."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.agents.dqn import DQN, DQNLearner
from whet.agents.environments import Environments
from whet.agents.state import Part
from whet.core.checks import share, whole
from whet.policies.replay import Transitions
from whet.policies.spaces import AgentError, Array


@dataclass(frozen=True)
class EauDeDQN(DQN):
    r"""Several networks of different sparsity learn from one target; the best of them is the next target.

    K networks take a step with each batch, every one down its own loss to the targets of one target network. When the
    target is renewed, it becomes the network of the least summed loss since the last time,

    .. math:: \psi = \arg\min_k \sum \mathcal L_k,  \bar\theta \leftarrow \theta_\psi,
        \theta_1 \leftarrow \theta_\psi,  \theta_k \leftarrow \text{prune}(\theta_\psi, 1 - (1 - s_\psi)(1 - u_k)),

    :math:`u_k \sim U(0, \text{faster})`, so the first goes on at the sparsity :math:`s_\psi` of the target, and all
    others are its copies with the smallest weights of the whole network at zero, where they stay. Sparsity rises only
    when a sparser network learned at least as well: it needs no schedule and no share to reach. The first network acts
    and is deployed. `network_count` is K; no network is sparser than `most`.

    Vincent, Faust, Tripathi, Peters and D'Eramo (2025), Eau De Q-Network: Adaptive Distillation of Neural Networks in
    Deep Reinforcement Learning. How much sparser the copies become (`faster`), and which network acts, are ours.
    """

    network_count: int = 3
    faster: float = 0.2
    most: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("network_count", self.network_count, 2)
        share("faster", self.faster)
        share("most", self.most)
        if self.prioritized or self.noisy:
            raise AgentError(
                "eau-de-dqn compares networks by their losses on equal batches: prioritized and noisy are not for it."
            )

    def begin(self, environments: Environments, steps: int, seed: int) -> EauDeDQNLearner:
        """Return a learner that is to take `steps` steps."""
        return EauDeDQNLearner(self, environments, steps, seed)


class EauDeDQNLearner(DQNLearner):
    """Deep Q-networks of different sparsity that learn on environments."""

    agent: EauDeDQN

    def __init__(self, agent: EauDeDQN, environments: Environments, steps: int, seed: int) -> None:
        super().__init__(agent, environments, steps, seed)
        self.sparser = nn.ModuleList(copy.deepcopy(self.network) for _ in range(agent.network_count - 1))
        self.optimizers = [self.optimizer]
        for network in self.sparser:
            self.optimizers.append(torch.optim.Adam(network.parameters(), agent.learning_rate, fused=True))
        self.summed = torch.zeros(agent.network_count)
        self._prune_copies()

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that learn; the first has the sparsity of the target."""
        return [self.network, *self.sparser]

    def _learn(self, rows: Array, drawn: Transitions) -> None:
        for place, (network, optimizer) in enumerate(zip(self.networks, self.optimizers, strict=True)):
            kept = [weight != 0 for weight in weights(network)]
            self.summed[place] += self._descend(network, optimizer, self.target, rows, drawn)
            with torch.no_grad():
                for weight, there in zip(weights(network), kept, strict=True):
                    weight.mul_(there)

    def _renew(self) -> None:
        chosen = int(self.summed.argmin())
        network, optimizer = self.networks[chosen], self.optimizers[chosen]
        state, steps = copy.deepcopy(network.state_dict()), optimizer.state_dict()
        for other in (self.target, *self.networks):
            other.load_state_dict(state)
        for one in self.optimizers:
            if one is not optimizer:
                one.load_state_dict(copy.deepcopy(steps))
        self.summed.zero_()
        self._prune_copies()

    def _prune_copies(self) -> None:
        left = 1 - sparsity(self.network)
        for network in self.sparser:
            drawn = float(torch.rand(1, generator=self.generator)) * self.agent.faster
            prune(network, min(self.agent.most, 1 - left * (1 - drawn)))

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        return {**super().tensors(), "summed": self.summed.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        super().restore(tensors)
        self.summed = tensors["summed"].clone()

    def _parts(self) -> dict[str, Part]:
        others = {f"optimizer_{place}": one for place, one in enumerate(self.optimizers[1:], 1)}
        return {**super()._parts(), "sparser": self.sparser, **others}


def weights(network: nn.Module) -> list[nn.Parameter]:
    """Return what is pruned of a network: weights of layers, of any shapes, and no biases and norms."""
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]


def sparsity(network: nn.Module) -> float:
    """Return the share of weights that are zero.

    >>> layer = nn.Linear(2, 2)
    >>> nn.init.eye_(layer.weight) is layer.weight, sparsity(layer)
    (True, 0.5)
    """
    zeros = sum(int((weight == 0).sum()) for weight in weights(network))
    return zeros / sum(weight.numel() for weight in weights(network))


@torch.no_grad()
def prune(network: nn.Module, wanted: float) -> None:
    """Put the smallest weights of a network to zero, until a share `wanted` of all is: none where more are already."""
    own = weights(network)
    sizes = torch.cat([weight.abs().flatten() for weight in own])
    zeros = round(wanted * len(sizes))
    if zeros > int((sizes == 0).sum()):
        kept = torch.ones(len(sizes), dtype=torch.bool)
        kept[sizes.argsort(stable=True)[:zeros]] = False
        for weight, there in zip(own, torch.split(kept, [weight.numel() for weight in own]), strict=True):
            weight.mul_(there.view_as(weight))
