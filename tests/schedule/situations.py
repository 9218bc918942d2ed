"""A situation of a search from its log, and what a scheduler does in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from whet.core.objectives import Figures
from whet.core.run import Budget
from whet.core.space import Decision, Space, Value
from whet.core.strategy import Strategy
from whet.core.study import Trial
from whet.schedule.actions import Action, Actions
from whet.schedule.clock import Clock
from whet.schedule.finishing import Finishing
from whet.schedule.foretold import Foretold
from whet.schedule.goal import Goal
from whet.schedule.history import History
from whet.schedule.late import Late
from whet.schedule.plan import Plan
from whet.schedule.situation import Mixable, Situation
from whet.schedule.told import Told
from whet.search import strategies


@dataclass
class Facts:
    """Made-up facts; the original's quality is 0.9."""

    space: Space
    repairs: bool = False
    trains: bool = True
    epoch_samples: int = 45_000
    speed: float = 1200.0
    ways: list[list[Decision]] = field(default_factory=list)
    whole: Space = field(default_factory=Space)
    """The one space: structure, finishers, settings."""
    dear: list[Decision] = field(default_factory=list)

    def samples_per_second(self) -> float:
        return self.speed

    def original_samples_per_second(self) -> float:
        return 1e4

    def reference(self) -> float:
        return 0.9

    def obvious(self) -> list[Decision]:
        return []

    def foretold(self) -> Foretold:
        return Foretold()

    def pressed(self) -> list[Decision]:
        return self.dear

    def mixables(self) -> list[Mixable]:
        return []

    def strategy(self, seed: int) -> Strategy:
        return strategies.get("sensitivity", self.space, seed=seed)

    def late(self, done: Mapping[str, Value], saved: Mapping[str, float]) -> Late:
        settings = [name for name in self.whole.choices if name.startswith("runtime:")]
        return Late(strategies.get("sensitivity", self.whole, seed=1), self.whole, settings, done, saved)


def situation(
    trials: list[Trial], space: Space, goal: Goal, memos: dict[str, Any] | None = None, file_seconds: float = 0.0,
    finishers: bool = False, plan: Plan | None = None, **facts: Any,
) -> Situation:  # fmt: skip
    """Return a situation; its `study` remembers `memos`, its notes are in `notes` of the study.

    `file_seconds` is the cost of every step; by default what is believed of a step that was not done yet.
    """
    memos = {} if memos is None else memos
    study: Any = SimpleNamespace(trials=trials, recall=memos.get, remember=memos.__setitem__, notes=[])
    known = Facts(space, **facts)
    costs: Any = SimpleNamespace(
        cost=lambda what, otherwise: file_seconds or otherwise,
        longest=lambda what, otherwise: 0.0 if file_seconds else otherwise,
    )
    task: Any = SimpleNamespace(
        loss_of_quality=lambda quality, reference: reference - quality, drop="absolute", direction="max"
    )
    history = History(study, space, goal, known.repairs, Figures(1.0, 1))
    plan = plan or Plan()
    return Situation(
        study, space, goal, plan, history, Clock(Budget(goal.budget_seconds), costs, history, plan, finishers),
        Finishing(history, lambda: known.ways, finishers), Told(study, task, lambda: 0.9, known.repairs), known, 0,
        say=lambda stage: None, note=study.notes.append,
    )  # fmt: skip


def drive(actions: Actions[Any], do: Callable[[Action], Any] = lambda action: None) -> Any:
    """Do what a scheduler yields, one after the other, and return what it returns."""
    outcome = None
    try:
        action = next(actions)
        while True:
            outcome = do(action)
            action = actions.send(outcome)
    except StopIteration as end:
        return end.value


def asked(actions: Actions[Any], outcome: Any = None) -> list[Action]:
    """Return the actions that a scheduler yields where all have one outcome."""
    seen: list[Action] = []
    drive(actions, lambda action: seen.append(action) or outcome)
    return seen
