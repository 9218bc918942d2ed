"""`Situation`: what all schedulers of a search go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from whet.core.space import Decision, Space, Value
from whet.core.strategy import Strategy
from whet.core.study import Study
from whet.schedule.clock import Clock
from whet.schedule.finishing import Finishing
from whet.schedule.foretold import Foretold
from whet.schedule.goal import Goal
from whet.schedule.history import History
from whet.schedule.late import Late
from whet.schedule.plan import Plan
from whet.schedule.told import Told


@dataclass(frozen=True)
class Mixable:
    """A finisher, by its place: the names of its choices, and a decision under which those for single layers count."""

    names: frozenset[str]
    scope: Decision | None
    place: int = 0


class Facts(Protocol):
    """What is known of the network, of its passes and of its trainings.

    `repairs` says that candidates are repaired, `trains` that there are training data, `epoch_samples` how many.
    """

    @property
    def repairs(self) -> bool: ...

    @property
    def trains(self) -> bool: ...

    @property
    def epoch_samples(self) -> int: ...

    def samples_per_second(self) -> float:
        """Return the speed of the last full training, or of the last short one; 0 while there was none."""
        ...

    def original_samples_per_second(self) -> float:
        """Return how fast the original would be trained on."""
        ...

    def reference(self) -> float:
        """Return the original's quality."""
        ...

    def obvious(self) -> list[Decision]:
        """Return what anyone would try, the mildest first."""
        ...

    def pressed(self) -> list[Decision]:
        """Return ways of finishing that lose much until the finished network is trained on, the mildest first."""
        ...

    def foretold(self) -> Foretold:
        """Return what passes tell of their choices."""
        ...

    def mixables(self) -> list[Mixable]:
        """Return the finishers."""
        ...

    def strategy(self, seed: int) -> Strategy:
        """Return a new strategy on the structure's space."""
        ...

    def late(self, done: Mapping[str, Value], saved: Mapping[str, float]) -> Late:
        """Return what proposes late choices where so much is done, by what values of layers save of the latency."""
        ...


@dataclass(frozen=True)
class Situation:
    """The log, the goal, the time that is left, and what is known besides; `say` tells the user, `note` the report."""

    study: Study
    space: Space
    goal: Goal
    plan: Plan
    history: History
    clock: Clock
    finishing: Finishing
    told: Told
    facts: Facts
    seed: int
    say: Callable[[str], None]
    note: Callable[[str], None]
    workers: Callable[[], int] = lambda: 1
    """How many trainings are done at once by now."""

    def structures_of(self, stage: str) -> set[Decision]:
        """Return the structures of a stage's trials and of those that failed before they became one."""
        found = self.history.of_stage(stage) + self.history.failures(stage)
        return {self.history.structural(t.decision) for t in found}

    def rate(self) -> float:
        """Return the drop for each unit of the outputs' error, where there are errors."""
        return self.told.rate(self.goal.max_drop)

    def drop_told(self, error: float) -> float:
        """Return the drop that the error of a candidate's outputs tells by now."""
        return self.told.drop(error, self.goal.max_drop)
