"""Episodes that a trained policy plays, one at a time, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.agents.environments import episode_seed, maker, refuse_other
from whet.agents.evaluation import EVALUATION_SEED, MOST_STEPS
from whet.agents.training import policy_of, request_of, scores_of
from whet.policies.spaces import AgentError, Spaces


@dataclass(frozen=True)
class Episode:
    """The actions of an episode, its return, whether it was cut off, and a text of each state where asked for."""

    actions: list[int]
    gained: float
    cut: bool
    pictures: list[str]


def played(
    folder: Path, episodes: int, seed: int, environment: str | None = None, render: str | None = None
) -> Iterator[Episode]:
    """Yield episodes that the policy of a training plays; they are those that `Episodes` of this seed judges by.

    Raises: AgentError for another environment of other spaces, and for a way to render that it does not have.
    """
    training, spaces = request_of(folder)
    name = environment or training.environment
    policy = scores_of(policy_of(folder))
    game = _made(name, render)
    refuse_other(Spaces.of(game, name), spaces, name)
    for index in range(episodes):
        yield _episode(game, policy, Spaces.of(game, name), episode_seed(seed, EVALUATION_SEED, index), name, render)
    game.close()


def _made(name: str, render: str | None) -> Any:
    """Return an environment that draws itself, where that is asked for."""
    plain = maker(name)()
    allowed = plain.metadata.get("render_modes", [])
    if render is not None and render not in allowed:
        known = ", ".join(allowed) or "none"
        raise AgentError(f"environment '{name}' cannot be rendered as '{render}'; it has: {known}.")
    return plain if render is None else maker(name, render_mode=render)()


def _episode(game: Any, policy: Any, spaces: Spaces, seed: int, name: str, render: str | None) -> Episode:
    actions, gained, pictures = list[int](), 0.0, list[str]()
    observation, _ = game.reset(seed=seed)
    row = spaces.empty(1)
    for _ in range(MOST_STEPS):
        spaces.write(observation, row[0], name)
        if render == "ansi":
            pictures.append(str(game.render()))
        actions.append(int(policy(row).argmax(1)[0]))
        observation, reward, terminated, truncated, _ = game.step(actions[-1] + spaces.first_action)
        gained += float(reward)
        if terminated or truncated:
            return Episode(actions, gained, False, pictures)
    return Episode(actions, gained, True, pictures)
