"""Parallelised Q-learning: no replay buffer and no target network, but layer norms and several environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.agents.environments import Environments
from whet.agents.gae import lambda_returns
from whet.agents.on_policy import Recent
from whet.agents.rollout import Rollout, collected
from whet.agents.state import Part, gathered, spread
from whet.core.checks import positive, share, whole
from whet.policies.exploration import Falling, epsilon_greedy
from whet.policies.networks import Scores, Single, body, prepared, seeded
from whet.policies.spaces import Array, Spaces
from whet.policies.values import Squeezed, of_actions


@dataclass(frozen=True)
class PQN:
    r"""Q-learning from steps that are used once and forgotten, towards lambda-returns of the present network.

    The targets are :math:`R_t = r_t + \gamma (\lambda R_{t+1} + (1 - \lambda) \max_{a'} Q(s_{t+1}, a'))`, without the
    bracket behind the end of an episode; at the end of the `length` steps R is the maximum. Layer norms before every
    activation keep the learning stable that a target network and a buffer keep stable elsewhere. Actions are
    epsilon-greedy.

    Gallici et al. (2025), Simplifying Deep Temporal Difference Learning. The defaults are for small problems of control
    and were set on CartPole-v1.
    """

    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 1e-3
    discount: float = 0.99
    trace: float = 0.95
    length: int = 64
    epochs: int = 4
    minibatches: int = 8
    explore_for: float = 0.2
    last_epsilon: float = 0.04
    largest_gradient: float = 10.0
    falling: bool = True
    environments: int = 8

    def __post_init__(self) -> None:
        for name in ("length", "epochs", "minibatches", "environments"):
            whole(name, getattr(self, name))
        for name in ("learning_rate", "largest_gradient"):
            positive(name, getattr(self, name))
        for name in ("discount", "trace", "explore_for", "last_epsilon"):
            share(name, getattr(self, name))

    def network(self, spaces: Spaces) -> nn.Sequential:
        """Return a new network with layer norms: observations (N, *shape) to (N, actions, 1)."""
        layers, features = body(spaces.shape, self.hidden, norm=True)
        return nn.Sequential(layers, Single(features, spaces.actions, 1))

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to values (N, actions)."""
        return Scores(self.network(spaces), Squeezed())

    def begin(self, environments: Environments, steps: int, seed: int) -> PQNLearner:
        """Return a learner that is to take `steps` steps."""
        return PQNLearner(self, environments, steps, seed)


class PQNLearner:
    """A Q-network that learns on environments from their steps as they come."""

    def __init__(self, agent: PQN, environments: Environments, steps: int, seed: int) -> None:
        self.agent, self.environments, self.steps = agent, environments, steps
        self.generator, self.recent = torch.Generator().manual_seed(seed), Recent(environments)
        with seeded(seed):
            self.network = agent.network(environments.spaces)
        self.optimizer = torch.optim.RAdam(self.network.parameters(), agent.learning_rate)
        self.epsilon = Falling(1.0, agent.last_epsilon, agent.explore_for)

    def advance(self) -> tuple[float, ...]:
        """Take `length` steps in each environment, and learn from them for some epochs."""
        left = max(0.0, 1 - self.environments.steps / self.steps) if self.agent.falling else 1.0
        rollout = collected(self.environments, self._actions, self.agent.length)
        self.recent.add(rollout.flat("observations"))
        for group in self.optimizer.param_groups:
            group["lr"] = self.agent.learning_rate * left
        self._learn(rollout, torch.from_numpy(self.targets(rollout)).ravel())
        return rollout.returns

    @torch.no_grad()
    def _actions(self, seen: Array) -> Array:
        epsilon = self.epsilon.at(self.environments.steps / self.steps)
        return epsilon_greedy(self.network(prepared(seen)).squeeze(2), epsilon, self.generator)

    @torch.no_grad()
    def targets(self, rollout: Rollout) -> Array:
        """Return the lambda-returns of T steps in N environments, (T, N)."""
        following = self.network(prepared(rollout.flat("following"))).squeeze(2).max(1).values
        best = following.view(rollout.rewards.shape).numpy()
        ends = rollout.terminated, rollout.ended
        return lambda_returns(rollout.rewards, best, *ends, self.agent.discount, self.agent.trace)

    def _learn(self, rollout: Rollout, targets: Tensor) -> None:
        seen, actions = prepared(rollout.flat("observations")), torch.from_numpy(rollout.flat("actions"))
        for _ in range(self.agent.epochs):
            order = torch.randperm(len(seen), generator=self.generator)
            for rows in order.chunk(self.agent.minibatches):
                chosen = of_actions(self.network(seen[rows]), actions[rows])[:, 0]
                self.optimizer.zero_grad()
                (targets[rows] - chosen).square().mean().mul(0.5).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.network.parameters(), self.agent.largest_gradient)
                self.optimizer.step()

    def policy(self) -> nn.Module:
        """Return a copy of the policy as it is deployed: observations (N, *shape) to values (N, actions)."""
        found = Scores(self.agent.network(self.environments.spaces), Squeezed())
        found.network.load_state_dict(self.network.state_dict())
        return found.eval()

    def states(self, count: int) -> Array:
        """Return the last observations, at most `count`, (count, *shape)."""
        return self.recent.rows[-count:]

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        return gathered(**self._parts())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        spread(tensors, **self._parts())

    def _parts(self) -> dict[str, Part]:
        names = ("network", "optimizer", "generator", "environments", "recent")
        return {name: getattr(self, name) for name in names}
