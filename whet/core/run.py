"""`Run`: what a pass is given, and the budget that everything it trains is charged to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from whet.core.net import Net
from whet.core.target import Target
from whet.core.task import Task

Progress = Callable[[dict[str, Any]], None]


@dataclass
class Budget:
    """Counts all wall-clock seconds since it was made, and those `spent_before` by earlier sessions of a study."""

    seconds: float
    spent_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def spent_seconds(self) -> float:
        """Seconds of all sessions so far, this one up to now."""
        return self.spent_before + time.monotonic() - self.started

    @property
    def left_seconds(self) -> float:
        """Seconds until the budget is used up; negative once it is exceeded."""
        return self.seconds - self.spent_seconds


@dataclass
class Run:
    """Task, teacher, target, seed and budget of one optimization, handed to each pass.

    `trainer` is `whet.train.fit.fit`; passes reach it as `run.fit(net, ...)` and never train otherwise.
    """

    task: Task
    target: Target
    teacher: Net | None = None
    seed: int = 0
    budget: Budget = field(default_factory=lambda: Budget(float("inf")))
    folder: Path | None = None
    trainer: Callable[..., Any] | None = None
    progress: Progress = field(default=lambda event: None)

    def fit(self, net: Net | nn.Module, **options: Any) -> Any:
        """Train `net` in place with the project's one training loop; see `whet.train.fit.fit`."""
        if self.trainer is None:
            raise RuntimeError("this Run was built without a trainer.")
        options.setdefault("teacher", self.teacher)
        options.setdefault("seed", self.seed)
        options.setdefault("progress", self.progress)
        return self.trainer(net, self.task, **options)
