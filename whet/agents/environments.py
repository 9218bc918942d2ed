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
from whet.core.errors import WhetError
from whet.support.names import nearest

Array = np.ndarray[Any, np.dtype[Any]]
Maker = Callable[[], Any]
EXTRAS = {"MinAtar": "minatar", "ALE": "ale-py"}
"""Packages that bring environments of their own, by what their names begin with."""
OWN = {
    f"whet/CacheEviction{name}-v0": ("whet.agents.cache.environment:CacheEviction", {"kind": kind})
    for name, kind in (("", "mixed"), ("Zipf", "zipf"), ("Scan", "scan"))
}
"""Environments of whet, by name: where each is, and its options."""
PICTURES = ("uint8", "bool")
"""Types of observations that are kept as they are; all others become float32."""


class AgentError(WhetError):
    """An agent cannot train or play on what it was given."""


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
class Spaces:
    """What an environment gives and takes: the shape and type of observations, and how many actions there are.

    `states` is the number of states where observations are whole numbers; they become vectors with a single 1.
    `first_action` is the environment's number of action 0.
    """

    shape: tuple[int, ...]
    dtype: str
    actions: int
    states: int = 0
    first_observation: int = 0
    first_action: int = 0

    @classmethod
    def of(cls, environment: Any, name: str) -> Spaces:
        """Read them from an environment.

        Raises: AgentError that names the space of observations or actions that agents cannot work with.
        """
        from gymnasium.spaces import Box, Discrete

        seen, acts = environment.observation_space, environment.action_space
        if not isinstance(acts, Discrete):
            raise AgentError(
                f"environment '{name}' has actions {acts}: agents choose among finitely many, Discrete(n)."
            )
        actions, first = int(acts.n), int(acts.start)
        if isinstance(seen, Discrete):
            return cls((int(seen.n),), "float32", actions, int(seen.n), int(seen.start), first)
        if not isinstance(seen, Box) or len(seen.shape) not in (1, 2, 3):
            raise AgentError(
                f"environment '{name}' has observations {seen}: agents see vectors, rows of them, "
                "pictures of shape (height, width, channels), or one of n states, Discrete(n)."
            )
        dtype = str(seen.dtype) if str(seen.dtype) in PICTURES else "float32"
        return cls(tuple(map(int, seen.shape)), dtype, actions, 0, 0, first)

    def empty(self, *leading: int) -> Array:
        """Return zeros for observations, of shape (*leading, *shape)."""
        return np.zeros((*leading, *self.shape), self.dtype)

    def write(self, observation: Any, row: Array, name: str) -> None:
        """Put an observation, as the environment gave it, into `row` of shape `shape`.

        Raises: AgentError for one of another shape, and for numbers that are not finite.
        """
        if self.states:
            row[:] = 0
            row[int(observation) - self.first_observation] = 1
            return
        given = np.asarray(observation)
        if given.shape != self.shape:
            raise AgentError(
                f"environment '{name}' gave an observation of shape {given.shape}; its space says {self.shape}."
            )
        row[...] = given
        if self.dtype == "float32" and not math.isfinite(float(row.sum())):
            raise AgentError(f"environment '{name}' gave an observation that is not finite: {given.ravel()[:8]}.")


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
