"""Cold-RL: a dueling deep Q-network that learns cache eviction from logs of another policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whet.agents.dqn import DQN


@dataclass(frozen=True)
class ColdRL(DQN):
    """A dueling deep Q-network that learns offline: what it learns from was done by LRU with exploration.

    It takes no action while it learns. In `whet/CacheEviction-v0` action 0 evicts what was used longest ago, so the
    logged policy is LRU, which evicts any of the candidates with probability `explore`. Logs come in as learning goes
    on, and updates begin after `begin_after` of them. An eviction is credited at once with what it loses, so nothing
    of what follows need be counted: with a discount of .8 policies were as good after 3,000 steps and fell back to
    LRU's hits by 12,000. One network tells the value of each candidate from its own features; one that read all
    features as a vector gained half as much over LRU in 24,000 steps. The defaults were set on the mixed trace.

    Gupta and Bhayani (2025), Cold-RL: Learning Cache Eviction with Offline Reinforcement Learning for NGINX, whose
    action is a mask of victims; here it is one of them at a time.
    """

    hidden: tuple[int, ...] = (64, 64)
    discount: float = 0.0
    double: bool = True
    dueling: bool = True
    behaviour: Literal["own", "first"] = "first"
    begin_after: int = 2000
