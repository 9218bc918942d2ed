"""How good a policy is: its returns in fixed episodes, apart from any training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student

from whet.agents.environments import Maker, episode_seed, maker
from whet.core.checks import whole
from whet.policies.spaces import Array, Spaces

Choose = Callable[[Array], Array]
"""What gives scores of actions (N, actions) for observations (N, *shape)."""
MOST_STEPS = 10_000
EVALUATION_SEED = 1_000_003
"""Of the seeds of evaluation episodes, so that none is one of a training with a small seed."""


@dataclass(frozen=True)
class Returns:
    """Undiscounted returns of episodes, and how many of them were cut after `most_steps`."""

    values: tuple[float, ...]
    cut: int = 0

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(np.mean(self.values))

    def interval(self, sure: float = 0.95) -> tuple[float, float] | None:
        """Return the interval that holds the true mean with probability `sure`: mean -+ t s / sqrt(n).

        None for a single episode.

        >>> [round(end, 3) for end in Returns((1.0, 2.0, 3.0)).interval()]
        [-0.484, 4.484]
        """
        count = len(self.values)
        if count < 2:
            return None
        wide = float(student.ppf((1 + sure) / 2, count - 1) * np.std(self.values, ddof=1)) / math.sqrt(count)
        return self.mean - wide, self.mean + wide


@dataclass(frozen=True)
class Episodes:
    """Fixed episodes of an environment: the same `seed` gives the same ones to every policy.

    They have environments and seeds of their own, and actions are the best ones, without chance, so that playing
    them changes nothing about a training that is going on. An episode that does not end is cut after `most_steps`.
    """

    environment: str | Maker
    episodes: int = 20
    seed: int = 0
    most_steps: int = MOST_STEPS
    name: str = field(default="")

    def play(self, choose: Choose) -> Returns:
        """Play all episodes at once, the largest of the scores (N, actions) choosing each action."""
        make = maker(self.environment) if isinstance(self.environment, str) else self.environment
        name = self.name or (self.environment if isinstance(self.environment, str) else "given")
        games = [make() for _ in range(whole("episodes", self.episodes))]
        spaces = Spaces.of(games[0], name)
        seen, returns = spaces.empty(len(games)), np.zeros(len(games))
        for index, game in enumerate(games):
            observation, _ = game.reset(seed=episode_seed(self.seed, EVALUATION_SEED, index))
            spaces.write(observation, seen[index], name)
        going = list(range(len(games)))
        for _ in range(self.most_steps):
            actions = choose(seen[going]).argmax(1)
            for index, action in zip(going, actions.tolist(), strict=True):
                observation, reward, terminated, truncated, _ = games[index].step(action + spaces.first_action)
                returns[index] += float(reward)
                spaces.write(observation, seen[index], name)
                if terminated or truncated:
                    seen[index] = 0
                    games[index].close()
                    games[index] = None
            going = [index for index in going if games[index] is not None]
            if not going:
                break
        return Returns(tuple(returns.tolist()), len(going))
