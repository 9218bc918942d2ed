"""`policy`: a trained agent's policy, whose quality is what it gains in fixed episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from whet.agents.evaluation import Episodes
from whet.agents.training import POLICY, STATES, policy_of, request_of
from whet.core.errors import TaskError
from whet.core.task import Task, accuracy
from whet.policies.networks import prepared
from whet.policies.spaces import Array
from whet.support.structure import Tree
from whet.tasks.bundle import Bundle, TensorBatches
from whet.train.recipe import Recipe
from whet.train.state import read_tensors

SEEDS = {"val": 2, "test": 3}
"""Of the episodes: others than those that the policy was chosen by and judged by after its training."""
LEAST_STATES = 100


@dataclass(frozen=True)
class Played:
    """What a network gains in the episodes of an environment: validation's and the test's differ in their seeds."""

    environment: str
    episodes: int

    def __call__(self, run: Callable[..., Tree], collection: str) -> Tensor:
        """Return the returns (episodes,) of `run`, which gives scores (N, actions) for observations (N, *shape)."""

        def choose(observations: Array) -> Array:
            scores = run(prepared(observations))
            assert isinstance(scores, Tensor)
            return scores.detach().numpy()

        found = Episodes(self.environment, self.episodes, SEEDS[collection]).play(choose)
        return torch.tensor(found.values)


def policy(data: Path | None = None, folder: str = "", episodes: int = 40) -> Bundle:
    """Return the task of a training's folder: the policy as its network, its mean return as the quality.

    What it trains on are the states that the agent saw last, with the policy's own choices as labels and the policy as
    the teacher: policy distillation (Rusu et al. 2016). A limit such as 2% is of the mean return.
    Raises: TaskError where no folder is named or too few states were kept; AgentError where it holds no training.
    """
    place = Path(folder) if folder else data
    if place is None:
        raise TaskError("task 'policy' needs the folder of a training: policy(folder='runs/agents/dqn-CartPole-v1-0').")
    training, _ = request_of(place)
    network = policy_of(place)
    states = read_tensors(place / STATES)[0]["states"]
    if len(states) < LEAST_STATES:
        raise TaskError(f"'{place}' holds {len(states)} states, and {LEAST_STATES} are needed: train for longer.")
    states = states[torch.randperm(len(states), generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        chosen = network(states).argmax(1)
    held = len(states) // 5
    task = Task(
        name=f"policy-{training.environment.replace('/', '-')}",
        train=TensorBatches(states[held:], chosen[held:], 64, shuffle=True),
        val=TensorBatches(states[:held], chosen[:held], 64),
        calibration=TensorBatches(states[held:][:256], chosen[held:][:256], 128),
        test=TensorBatches(states[:held], chosen[:held], 64),
        loss=functional.cross_entropy,
        metric=accuracy,
        metric_name="return",
        drop="relative",
        played=Played(training.environment, episodes),
    )
    return Bundle(
        task, {"policy": partial(policy_of, place)}, (states[:2],), recipe=Recipe("adamw", learning_rate=1e-3),
        weights={"policy": place / POLICY},
    )  # fmt: skip
