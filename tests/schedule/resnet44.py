"""The figures of a search on ResNet-44, and rounds that go on from them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from situations import situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.actions import Actions
from whet.schedule.goal import Goal
from whet.schedule.rounds import Rounds

SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(6)])
EXPLORED = [(1.75, 0.0136, 10_240), (2.48, 0.0258, 14_592), (4.59, 0.2056, 17_920), (2.81, 0.0468, 13_568)]


class Explorer:
    """Stands in for the exploration: says what it was aimed at and adds a candidate each time."""

    def __init__(self, trials: list[Trial], budget_seconds: float) -> None:
        self.trials, self.aimed, self.base, self.speedup = trials, 0.0, Decision(), 1.5
        self.mending = SimpleNamespace(slow=False, mendable=lambda limit: 5 * limit, rounds_seconds=budget_seconds)
        self.pace = SimpleNamespace(short_seconds=lambda: 14.0)

    def aim(self, drop: float, base: Decision | None = None) -> bool:
        self.aimed, self.base = drop, base or Decision()
        return True

    def one_more(self, until: float) -> Actions[bool]:
        yield from ()
        if until < 0:
            return False
        number = len(self.trials)
        found = trial(number, "short", self.speedup, self.aimed, 12_000)
        if self.base:
            parent = next(t for t in reversed(self.trials) if t.decision == self.base and t.stage == "full")
            wider = Decision({**self.base, f"block{number % 6}:keep": False})
            found = replace(found, decision=wider, parent=parent.number, samples=parent.samples + 12_000)
        self.trials.append(found)
        return True


def trial(number: int, stage: Any, speedup: float, drop: float, samples: int, parent: int | None = None) -> Trial:
    return Trial(
        number, stage, Decision({"block0:keep": False}), quality=0.9 - drop, drop=drop, speedup=speedup,
        samples=samples, parent=parent,
    )  # fmt: skip


def rounds(
    trials: list[Trial], seconds: float = 1200.0, space: Space = SPACE, finishers: bool = False, **more: Any
) -> tuple[Rounds, Explorer]:
    given = situation(trials, space, Goal(0.01, budget_seconds=seconds), finishers=finishers, **more)
    explorer: Any = Explorer(trials, seconds)
    return Rounds(given, explorer), explorer


def explored() -> list[Trial]:
    return [trial(i, "short", *figures) for i, figures in enumerate(EXPLORED)]


def told(number: int, speedup: float, drop: float) -> Trial:
    return trial(number, "predicted", speedup, drop, 4_500)
