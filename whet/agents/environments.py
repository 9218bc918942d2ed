"""`Environments`: several copies of one Gymnasium environment, stepped together, whose state can be written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.checks import whole
from whet.policies.spaces import AgentError, Array, Spaces
from whet.support.names import nearest

Maker = Callable[[], Any]
EXTRAS = {"MinAtar": "minatar", "ALE": "ale-py"}
"""Packages that bring environments of their own, by what their names begin with."""
OWN = {
    f"whet/CacheEviction{name}-v0": ("whet.agents.cache.environment:CacheEviction", {"kind": kind})
    for name, kind in (("", "mixed"), ("Zipf", "zipf"), ("Scan", "scan"))
}
"""Environments of whet, by name: where each is, and its options."""


def maker(name: str, **options: Any) -> Maker:
    """Return what makes the environment of a name, e.g. `CartPole-v1`, `MinAtar/Breakout-v1` or `module:Name-v0`.

    Raises: AgentError where Gymnasium is not installed, and for a name that it does not know.
    """
    if find_spec("gymnasium") is None:
        raise AgentError("agents play on Gymnasium environments: install whet's extra, pip install 'whet-nn[rl]'.")
    import gymnasium

    _register(name)
    try:
        gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        known = sorted(map(str, gymnasium.registry))
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near else f": {str(error).splitlines()[0]}"
        raise AgentError(f"unknown environment '{name}'{hint}") from error
    return lambda: gymnasium.make(name, **options)


def _register(name: str) -> None:
    """Make Gymnasium know the environments of whet, or of the package that a name is of."""
    import gymnasium

    family = name.partition("/")[0]
    if family == "whet":
        for own, (where, options) in OWN.items():
            if own not in gymnasium.registry:
                gymnasium.register(own, entry_point=where, kwargs=options)
    package = EXTRAS.get(family, "")
    if not package or name in gymnasium.registry:
        return
    if find_spec(package.replace("-", "_")) is None:
        raise AgentError(f"environment '{name}' is of the package '{package}', which is not installed.")
    if package == "minatar":
        import_module("minatar.gym").register_envs()
    else:
        gymnasium.register_envs(import_module("ale_py"))


@dataclass(frozen=True)
class Steps:
    """One step of each of N environments, shapes (N,) and (N, *shape).

    `following` is what each came to, also where an episode ended there; `ended` is `terminated` or cut off by a time
    limit. `returns` are the undiscounted returns of the episodes that ended.
    """

    rewards: Array
    following: Array
    terminated: Array
    ended: Array
    returns: tuple[float, ...]


def episode_seed(seed: int, environment: int, episode: int) -> int:
    """Return the seed of an environment's episode: a function of all three, so that an episode can be played again.

    >>> episode_seed(0, 0, 0) == episode_seed(0, 0, 0) != episode_seed(0, 0, 1)
    True
    """
    return int(np.random.SeedSequence((seed, environment, episode)).generate_state(1)[0]) % 2**31


class Environments:
    """`count` copies of an environment, each begun anew when its episode ends.

    The state of an environment is the seed of its episode and the actions since: `restore` plays them again, which
    works for every environment that is deterministic given its seed, and needs nothing of its inside.

    `observations` are what is seen now, (count, *shape); `steps` how many steps all took together.
    """

    def __init__(self, make: str | Maker, count: int = 1, seed: int = 0, name: str = "") -> None:
        self.name = name or (make if isinstance(make, str) else "given")
        self.seed, self.count = whole("seed", seed, 0), whole("environments", count)
        self._all = [(maker(make) if isinstance(make, str) else make)() for _ in range(self.count)]
        self.spaces = Spaces.of(self._all[0], self.name)
        self.observations = self.spaces.empty(self.count)
        self.steps = 0
        self._episodes = [0] * self.count
        self._actions: list[list[int]] = [[] for _ in range(self.count)]
        self._returns = [0.0] * self.count
        for index in range(self.count):
            self._reset(index)

    def step(self, actions: Array) -> Steps:
        """Take one action in each environment, shape (count,), numbered from 0.

        Raises: AgentError for a reward that is no finite number and for observations of another shape.
        """
        rewards, terminated = np.zeros(self.count, np.float32), np.zeros(self.count, bool)
        ended, following = np.zeros(self.count, bool), self.spaces.empty(self.count)
        finished = []
        for index, action in enumerate(actions.tolist()):
            reward, terminated[index], ended[index] = self._one(index, action, following[index])
            rewards[index] = reward
            if ended[index]:
                finished.append(self._returns[index])
                self._episodes[index] += 1
                self._reset(index)
            else:
                self.observations[index] = following[index]
        self.steps += self.count
        return Steps(rewards, following, terminated, ended, tuple(finished))

    def _one(self, index: int, action: int, row: Array) -> tuple[float, bool, bool]:
        observation, reward, terminated, truncated, _ = self._all[index].step(action + self.spaces.first_action)
        try:
            number = float(reward)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise AgentError(
                f"environment '{self.name}' gave the reward {reward!r:.80} in step {len(self._actions[index])} of an "
                f"episode, for action {action}: rewards must be finite numbers."
            )
        self.spaces.write(observation, row, self.name)
        self._actions[index].append(action)
        self._returns[index] += number
        return number, bool(terminated), bool(terminated or truncated)

    def _reset(self, index: int) -> None:
        seed = episode_seed(self.seed, index, self._episodes[index])
        observation, _ = self._all[index].reset(seed=seed)
        self.spaces.write(observation, self.observations[index], self.name)
        self._actions[index], self._returns[index] = [], 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Return the state: episodes and steps as scalars, actions since each began, (length,), and observations."""
        found = {f"actions.{i}": torch.tensor(taken, dtype=torch.int64) for i, taken in enumerate(self._actions)}
        found["episodes"], found["steps"] = torch.tensor(self._episodes), torch.tensor(self.steps)
        found["observations"] = torch.from_numpy(self.observations.copy())
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to a state that `tensors` told, with its shapes, by playing each unfinished episode again.

        Raises: AgentError where that does not lead to the same observations: the environment is not deterministic.
        """
        self._episodes = tensors["episodes"].tolist()
        for index in range(self.count):
            self._reset(index)
            for action in tensors[f"actions.{index}"].tolist():
                self._one(index, action, self.observations[index])
        self.steps = int(tensors["steps"])
        if not np.array_equal(self.observations, tensors["observations"].numpy()):
            raise AgentError(
                f"environment '{self.name}' did not come to the same state with the same seed and actions: a training "
                "on it cannot be resumed exactly. Begin anew with --restart."
            )

    def close(self) -> None:
        """Close all copies."""
        for environment in self._all:
            environment.close()


def refuse_other(spaces: Spaces, wanted: Spaces, name: str) -> None:
    """Raise AgentError where an environment is not of the spaces that a policy was trained for."""
    if (spaces.shape, spaces.actions) != (wanted.shape, wanted.actions):
        raise AgentError(
            f"environment '{name}' gives observations of shape {spaces.shape} and takes {spaces.actions} actions; the "
            f"policy was trained for {wanted.shape} and {wanted.actions}."
        )
