"""n-step transitions: what came of an action after n steps in place of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from whet.agents.environments import Steps
from whet.policies.replay import Transitions
from whet.policies.spaces import Array, Spaces

Pending = list[tuple[Array, int, float]]


class NStep:
    r"""Turns steps into transitions over `n` steps, those of each environment apart.

    The reward of a transition is :math:`R^{(n)}_t = \sum_{k=0}^{n-1} \gamma^k r_{t+k}`, its discount :math:`\gamma^n`,
    or 0 where the episode terminated within them. What an episode leaves at its end becomes transitions of fewer
    steps; where a time limit cut it off, the value of what followed still counts, with gamma to the steps taken.

    Shapes: observations (N, *shape), actions (N,).
    Sutton (1988), Learning to Predict by the Methods of Temporal Differences.
    """

    def __init__(self, spaces: Spaces, environments: int, n: int, discount: float) -> None:
        self.spaces, self.n, self.discount = spaces, n, discount
        self._pending: list[Pending] = [[] for _ in range(environments)]

    def add(self, observations: Array, actions: Array, steps: Steps) -> Transitions:
        """Take one step of each of N environments, from `observations` (N, *shape); return what became complete."""
        done: list[tuple[Array, int, float, Array, float]] = []
        for index, pending in enumerate(self._pending):
            pending.append((observations[index].copy(), int(actions[index]), float(steps.rewards[index])))
            following, terminated = steps.following[index], bool(steps.terminated[index])
            while len(pending) >= self.n or (steps.ended[index] and pending):
                done.append(self._first(pending, following, terminated))
                pending.pop(0)
        return self._joined(done)

    def _first(self, pending: Pending, following: Array, terminated: bool) -> tuple[Array, int, float, Array, float]:
        observation, action, _ = pending[0]
        reward = sum(self.discount**k * r for k, (_, _, r) in enumerate(pending[: self.n]))
        counts = 0.0 if terminated else self.discount ** min(self.n, len(pending))
        return observation, action, reward, following, counts

    def _joined(self, done: list[tuple[Array, int, float, Array, float]]) -> Transitions:
        if not done:
            none = np.zeros(0, np.float32)
            return Transitions(self.spaces.empty(0), np.zeros(0, np.int64), none, self.spaces.empty(0), none)
        observations, actions, rewards, following, discounts = zip(*done, strict=True)
        return Transitions(
            np.stack(observations), np.array(actions, np.int64), np.array(rewards, np.float32), np.stack(following),
            np.array(discounts, np.float32),
        )  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """Return the steps that wait, of each environment: observations (k, *shape), actions and rewards (k,)."""
        found: dict[str, Tensor] = {}
        for index, pending in enumerate(self._pending):
            seen = np.stack([p[0] for p in pending]) if pending else self.spaces.empty(0)
            found[f"{index}.observations"] = torch.from_numpy(seen)
            found[f"{index}.actions"] = torch.tensor([p[1] for p in pending], dtype=torch.int64)
            found[f"{index}.rewards"] = torch.tensor([p[2] for p in pending], dtype=torch.float64)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to what `tensors` told, in its shapes."""
        for index in range(len(self._pending)):
            seen, actions, rewards = (tensors[f"{index}.{k}"] for k in ("observations", "actions", "rewards"))
            self._pending[index] = list(zip(seen.numpy().copy(), actions.tolist(), rewards.tolist(), strict=True))
