"""Small environments whose values are known, and some that break a promise; Gymnasium knows them after this."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

LENGTH = 4


class Chain(gymnasium.Env[Any, Any]):
    """States 0 to 3 in a row; action 1 goes right, 0 left; a step to the right from the last gains 1 and ends it.

    An episode begins anywhere. With the discount g the best values are g^(3 - s) for going right from s.
    """

    def __init__(self, actions: int = 2, most_steps: int = 40) -> None:
        self.observation_space, self.action_space = Discrete(LENGTH), Discrete(actions)
        self.state, self.actions, self.taken, self.most_steps = 0, actions, 0, most_steps

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state, self.taken = int(self.np_random.integers(LENGTH)), 0
        return self.state, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        right = action == self.actions - 1
        ended = right and self.state == LENGTH - 1
        self.state = int(np.clip(self.state + (1 if right else -1), 0, LENGTH - 1))
        self.taken += 1
        return self.state, float(ended), ended, self.taken >= self.most_steps, {}


def best_values(discount: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return Q* of the chain, (states, actions), by value iteration."""
    q = np.zeros((LENGTH, 2))
    for _ in range(200):
        best = q.max(1)
        for state in range(LENGTH):
            q[state, 0] = discount * best[max(0, state - 1)]
            q[state, 1] = 1.0 if state == LENGTH - 1 else discount * best[state + 1]
    return q


class Broken(gymnasium.Env[Any, Any]):
    """Two numbers are seen; what breaks is named: `reward`, `shape`, `finite`, `chance`, `actions`, `observations`."""

    def __init__(self, breaks: str = "", after: int = 3) -> None:
        self.breaks, self.after, self.taken = breaks, after, 0
        self.observation_space: Any = Box(-1, 1, (2,), np.float32)
        self.action_space: Any = Discrete(2, start=5)
        if breaks == "actions":
            self.action_space = Box(-1, 1, (1,), np.float32)
        if breaks == "observations":
            self.observation_space = Dict({"speed": Box(-1, 1, (2,), np.float32)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert action in (5, 6)
        self.taken += 1
        broken = self.breaks if self.taken >= self.after else ""
        seen = np.full(3 if broken == "shape" else 2, np.nan if broken == "finite" else 0.5, np.float32)
        if broken == "chance":
            seen = np.random.default_rng().random(2).astype(np.float32)
        return seen, float("nan") if broken == "reward" else 1.0, False, False, {}


class Picture(gymnasium.Env[Any, Any]):
    """A picture of bytes, one row of which is lit; the action of the row's half gains 1."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = Box(0, 255, (5, 5, 1), np.uint8), Discrete(2)

    def _seen(self) -> Any:
        self.row = int(self.np_random.integers(5))
        picture = np.zeros((5, 5, 1), np.uint8)
        picture[self.row] = 255
        return picture

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        gained = float(action == (self.row > 2))
        self.taken += 1
        return self._seen(), gained, self.taken >= 10, False, {}


for name, kind in (("Chain", Chain), ("Broken", Broken), ("Picture", Picture)):
    if f"Whet{name}-v0" not in gymnasium.registry:
        gymnasium.register(f"Whet{name}-v0", entry_point=kind, disable_env_checker=True)
