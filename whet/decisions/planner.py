"""`Planner`: what a strategy can that forecasts gain and damage. Flows ask for this, and for no strategy's class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from whet.core.space import Choice, Decision, Space, Value
from whet.core.strategy import Strategy


@runtime_checkable
class Planner(Strategy, Protocol):
    """A strategy that forecasts log latency and damage of decisions, and proposes what a window of damage allows.

    `budgets` is that window, `base` what proposals contain. The forecasts are sums, or powers of sums, of an effect a
    choice times the distance of its value; `steps` says the two distances.
    """

    space: Space
    budgets: tuple[float, float]
    base: Decision

    @property
    def log_latency(self) -> Callable[[Decision], float]: ...

    @property
    def drop(self) -> Callable[[Decision], float]: ...

    def steps(self, choice: Choice, value: Value) -> tuple[float, float]:
        """Return how far a value is from its choice's identity, in [0, 1], for latency and for damage."""
        ...

    def aim(self, budgets: tuple[float, float], base: Decision | None = None) -> None:
        """Let further proposals do damage within `budgets`, beyond that of `base`, which they contain."""
        ...

    def believe(self, log_latency: Mapping[str, float], damage: Mapping[str, float]) -> None:
        """Take in what single choices do, by name, for each unit of distance."""
        ...

    def shape(self, latency: Mapping[str, Sequence[float]], damage: Mapping[str, Sequence[float]]) -> None:
        """Take in how the effects of a choice's values compare, in the order of its values, in [0, 1]."""
        ...

    def chain(self, budgets: Sequence[float], forgone: float = 0.0) -> list[Decision]:
        """Return decisions of rising damage, each containing the one before."""
        ...

    def extensions(
        self, base: Decision, budget: float, count: int, barred: Collection[str] = (), forgone: float = 0.0
    ) -> list[Decision]:
        """Return up to `count` decisions that extend `base` within the damage `budget`, each by choices of its own."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A strategy that counts the operations of decisions, if it is told how."""

    operations: Callable[[Decision], float] | None
