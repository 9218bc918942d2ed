"""The union of six extensions of deep Q-networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whet.agents.dqn import DQN


@dataclass(frozen=True)
class Rainbow(DQN):
    """A deep Q-network with all six extensions on, each of which an option turns off: `rainbow(noisy=False)`.

    They are double Q-learning, prioritized replay, dueling networks, targets over n steps, distributional values and
    noisy layers; as in the paper the priority of a transition is the divergence that is its loss, and n is 3.
    The atoms span from `low` to `high`: set them to what discounted returns can be, for instance 0 and 100 for
    CartPole-v1 with a discount of .99.

    Hessel et al. (2018), Rainbow: Combining Improvements in Deep Reinforcement Learning.
    """

    double: bool = True
    dueling: bool = True
    prioritized: bool = True
    n_steps: int = 3
    noisy: bool = True
    distribution: Literal["none", "categorical", "quantile"] = "categorical"
