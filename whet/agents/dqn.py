"""Deep Q-networks, with each of the six extensions that the union of them has by a switch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from whet.agents.categorical import Categorical
from whet.agents.dueling import Dueling
from whet.agents.environments import Environments
from whet.agents.n_step import NStep
from whet.agents.noisy import NoisyLinear, draw_noise, without_noise
from whet.agents.prioritized import Prioritized
from whet.agents.quantile import Quantiles
from whet.agents.state import Part, gathered, spread
from whet.core.checks import positive, share, whole
from whet.core.errors import unknown
from whet.policies.exploration import Falling, epsilon_greedy
from whet.policies.networks import Scores, Single, body, prepared, seeded
from whet.policies.replay import Replay, Transitions
from whet.policies.spaces import Array, Spaces
from whet.policies.targets import double, highest
from whet.policies.values import Expected, Values, of_actions

DISTRIBUTIONS = ("none", "categorical", "quantile")
BEHAVIOURS = ("own", "first")


@dataclass(frozen=True)
class DQN:
    r"""Q-learning with a deep network, a replay buffer and a target network.

    The target of a transition is :math:`y = r + \gamma \max_{a'} Q(s', a'; \theta^-)`, 0 behind the end of an episode;
    the loss is that of :math:`y - Q(s, a; \theta)` over a batch of the buffer, and :math:`\theta^-` is set to
    :math:`\theta` every `target_every` updates. Actions are chosen epsilon-greedily, epsilon falling from 1 to
    `last_epsilon` over the share `explore_for` of the training.

    Switches: `double` (the action of the target is chosen by theta, valued by theta-), `dueling` (streams of value and
    advantage), `prioritized` (replay by error), `n_steps` (targets over n steps), `noisy` (noise in weights in place of
    epsilon), `distribution` ("categorical" on `atoms` from `low` to `high`, or "quantile"). With `behaviour="first"` it
    learns from what another policy does, which takes action 0 but for any one with probability `explore`.

    Mnih et al. (2013), Playing Atari with Deep Reinforcement Learning. Its network for Atari is for pictures of at
    least 36 pixels a side; the defaults are for small problems of control and were set on CartPole-v1.
    """

    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 1e-3
    discount: float = 0.99
    batch: int = 64
    buffer: int = 50_000
    begin_after: int = 1000
    update_every: int = 2
    target_every: int = 250
    explore_for: float = 0.2
    last_epsilon: float = 0.04
    double: bool = False
    dueling: bool = False
    prioritized: bool = False
    n_steps: int = 1
    noisy: bool = False
    distribution: Literal["none", "categorical", "quantile"] = "none"
    atoms: int = 51
    low: float = -10.0
    high: float = 10.0
    quantiles: int = 50
    environments: int = 1
    behaviour: Literal["own", "first"] = "own"
    explore: float = 0.5

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise unknown("distribution", str(self.distribution), DISTRIBUTIONS)
        if self.behaviour not in BEHAVIOURS:
            raise unknown("behaviour", str(self.behaviour), BEHAVIOURS)
        for name in ("batch", "buffer", "update_every", "target_every", "n_steps", "environments"):
            whole(name, getattr(self, name))
        whole("begin_after", self.begin_after, 0)
        positive("learning_rate", self.learning_rate)
        for name in ("discount", "explore_for", "last_epsilon", "explore"):
            share(name, getattr(self, name))

    def values(self) -> Values:
        """Return what the network tells of an action's value."""
        if self.distribution == "categorical":
            return Categorical(self.atoms, self.low, self.high)
        return Quantiles(self.quantiles) if self.distribution == "quantile" else Expected()

    def network(self, spaces: Spaces) -> nn.Sequential:
        """Return a new network: observations (N, *shape) to (N, actions, outputs).

        Where observations have a row for each action, (N, actions, columns), one network tells the value of each row.
        """
        linear = NoisyLinear if self.noisy else nn.Linear
        by_row = len(spaces.shape) == 2 and spaces.shape[0] == spaces.actions
        layers, features = body(spaces.shape, self.hidden, linear, by_row=by_row)
        head = Dueling if self.dueling else Single
        return nn.Sequential(layers, head(features, spaces.actions, self.values().outputs, linear, by_row))

    def policy(self, spaces: Spaces) -> nn.Module:
        """Return the policy as it is deployed, untrained: observations (N, *shape) to values (N, actions)."""
        return Scores(without_noise(self.network(spaces)), self.values().expected())

    def begin(self, environments: Environments, steps: int, seed: int) -> DQNLearner:
        """Return a learner that is to take `steps` steps."""
        return DQNLearner(self, environments, steps, seed)


class DQNLearner:
    """A deep Q-network that learns on environments."""

    def __init__(self, agent: DQN, environments: Environments, steps: int, seed: int) -> None:
        self.agent, self.environments, self.steps = agent, environments, steps
        spaces = environments.spaces
        self.values, self.generator = agent.values(), torch.Generator().manual_seed(seed)
        with seeded(seed):
            self.network = agent.network(spaces)
        self.target, self.expected = copy.deepcopy(self.network), self.values.expected()
        self.optimizer = torch.optim.Adam(self.network.parameters(), agent.learning_rate, fused=True)
        self.replay = (Prioritized if agent.prioritized else Replay)(spaces, agent.buffer)
        self.n_step = NStep(spaces, environments.count, agent.n_steps, agent.discount)
        self.updates = torch.tensor(0)
        self.epsilon = Falling(1.0, agent.last_epsilon, agent.explore_for)

    def advance(self) -> tuple[float, ...]:
        """Take one step in each environment, and as many updates as are due by then."""
        seen = self.environments.observations.copy()
        actions = self._actions(seen)
        steps = self.environments.step(actions)
        self.replay.add(self.n_step.add(seen, actions, steps))
        due = (self.environments.steps - self.agent.begin_after) // self.agent.update_every
        while int(self.updates) < due and len(self.replay):
            self._update()
        return steps.returns

    @torch.no_grad()
    def _actions(self, seen: Array) -> Array:
        if self.agent.behaviour == "first":
            first = nn.functional.one_hot(torch.zeros(len(seen), dtype=torch.int64), self.environments.spaces.actions)
            return epsilon_greedy(first, self.agent.explore, self.generator)
        if self.agent.noisy:
            draw_noise(self.network, self.generator)
        epsilon = 0.0 if self.agent.noisy else self.epsilon.at(self.environments.steps / self.steps)
        return epsilon_greedy(self.expected(self._acting()(prepared(seen))), epsilon, self.generator)

    def _acting(self) -> nn.Module:
        """Return the network whose actions are taken next."""
        return self.network

    def _update(self) -> None:
        rows = self.replay.drawn(self.agent.batch, self.generator)
        self._learn(rows, self.replay.rows(rows))
        self.updates += 1
        if int(self.updates) % self.agent.target_every == 0:
            self._renew()

    def _learn(self, rows: Array, drawn: Transitions) -> None:
        """Take one step with a batch of the buffer and its rows, (B,)."""
        self._descend(self.network, self.optimizer, self.target, rows, drawn)

    def _renew(self) -> None:
        """Set the target network."""
        self.target.load_state_dict(self.network.state_dict())

    def _descend(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, target: nn.Module, rows: Array, drawn: Transitions
    ) -> Tensor:
        """Take a step down a network's loss over a batch, and return that loss, a scalar; targets are of `target`."""
        rewards, discounts = torch.from_numpy(drawn.rewards), torch.from_numpy(drawn.discounts)
        if self.agent.noisy:
            draw_noise(network, self.generator)
            draw_noise(target, self.generator)
        following = self._following(prepared(drawn.following), network, target)
        chosen = of_actions(network(prepared(drawn.observations)), torch.from_numpy(drawn.actions))
        losses, missed = self.values.losses(chosen, following, rewards, discounts)
        if isinstance(self.replay, Prioritized):
            beta = 0.4 + 0.6 * min(1.0, self.environments.steps / self.steps)
            losses = losses * torch.from_numpy(self.replay.weights(rows, beta))
            self.replay.update(rows, missed.numpy())
        loss = losses.mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def _following(self, following: Tensor, network: nn.Module, target: nn.Module) -> Tensor:
        """Return what a target network tells of the best action in `following` (B, *shape), (B, outputs).

        `network` chooses that action where double Q-learning is on.
        """
        told = target(following)
        if self.agent.double:
            return double(told, network(following), self.expected)
        return highest(told, self.expected)

    def policy(self) -> nn.Module:
        """Return a copy of the policy as it is deployed: observations (N, *shape) to values (N, actions)."""
        return Scores(without_noise(self.network), self.values.expected()).eval()

    def states(self, count: int) -> Array:
        """Return the last observations of the buffer, at most `count`, (count, *shape)."""
        replay = self.replay.replay if isinstance(self.replay, Prioritized) else self.replay
        newest = (replay.added - 1 - np.arange(min(count, len(replay)))) % replay.capacity
        return np.asarray(replay.observations[newest])

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, tensors of any shapes."""
        return {**gathered(**self._parts()), "updates": self.updates}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, in its shapes."""
        spread(tensors, **self._parts())
        self.updates = tensors["updates"].clone()

    def _parts(self) -> dict[str, Part]:
        names = ("network", "target", "optimizer", "generator", "replay", "n_step", "environments")
        return {name: getattr(self, name) for name in names}
