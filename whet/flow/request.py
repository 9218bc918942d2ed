"""`Request`: everything one optimization was asked to do, resolved and checked once, at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whet.core.net import Net
from whet.core.objectives import Objectives
from whet.core.passes import Pass
from whet.core.space import Space
from whet.core.target import Target
from whet.core.task import Task, length_of, rows_of, split
from whet.flow.quantities import Limit
from whet.hardware.elsewhere import machine_facts
from whet.schedule.goal import Goal
from whet.train.recipe import Recipe
from whet.workers.where import Where


@dataclass(frozen=True)
class Request:
    """What to optimize, by what, within which limits.

    `passes` act before training and are searched; `finishers` need no training of their own and are tried
    on each finished structure beside leaving it as it is. `max_drop` is in the unit of `task.drop`; where `limit` is
    given it is told from that once the original's quality is known. `trials` ends the exploration after so many
    candidates; without it the budget alone does. `elastic` trains all candidates at once before that, in place of one
    by one. `finds_recipe` says that `recipe` was not given, so that a better one may be found for this network
    (`whet.flow.recipes`). `skipped` says of layers of `net` why they were left as they came. `identity` tells other
    weights, data or code apart (`whet.flow.identity`). `objectives` is what is wanted beside quality,
    `threads` and `batch` how a file will be served, where that is fixed. `again` is the folder of a study whose record
    and files are taken over in place of a search; `options` are what a command was asked for. `workers` train, where
    it is not this process; `storage` is where the record is, by default a file in the folder. `also` are formats that
    delivered files are written in beside ONNX.
    """

    net: Net
    task: Task
    target: Target
    passes: tuple[Pass, ...]
    finishers: tuple[Pass, ...]
    budget_seconds: float
    out: Path
    max_drop: float | None = None
    limit: Limit | None = None
    trials: int | None = None
    strategy: str = "improvement"
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    finds_recipe: bool = False
    command: str = ""
    epochs: float | None = None
    elastic: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    objectives: Objectives = field(default_factory=Objectives)
    threads: int | None = None
    batch: int = 1
    again: Path | None = None
    options: Mapping[str, Any] | None = None
    workers: Where | None = None
    storage: str | None = None
    also: tuple[str, ...] = ()

    def space(self) -> Space:
        total = Space()
        for item in self.passes:
            total = total + item.space(self.net, self.target)
        return total

    @property
    def goal(self) -> Goal:
        """What the search is to reach; its largest drop is known once the original's quality is."""
        return Goal(self.max_drop, self.objectives, self.budget_seconds, self.trials)

    @cached_property
    def epoch_samples(self) -> int:
        """The samples of the training data, by their number of batches and the first one; 0 where they do not say."""
        train = self.task.train
        count = length_of(train)
        return count * rows_of(split(next(iter(train)))[0]) if train is not None and count else 0

    @property
    def drop_unit(self) -> tuple[float, str]:
        """Return what a drop is multiplied by and marked with to read in the unit of the given limit: %, points."""
        if self.limit is None or not self.limit.unit or not self.max_drop:
            return 1.0, ""
        return self.limit.value / self.max_drop, self.limit.unit

    def config(self) -> dict[str, Any]:
        """Return what a resumed study must agree in; the budget may grow."""
        return {
            "network": self.net.name,
            "parameters": self.net.parameter_count,
            **self.identity,
            "task": self.task.name,
            "target": self.target.name,
            **machine_facts(self.target),
            "max_drop": self.max_drop if self.limit is None else str(self.limit),
            "strategy": self.strategy,
            "seed": self.seed,
            "trials": self.trials,
            "epochs": self.epochs,
            "passes": [describe(p) for p in (*self.passes, *self.finishers)],
            "recipe": describe(self.recipe),
            **({"elastic": True} if self.elastic else {}),
            "objectives": self.objectives.describe(),
            "served": {"threads": self.threads, "batch": self.batch},
        }


def describe(item: Any) -> dict[str, Any]:
    """Return a frozen dataclass as plain data with its class name."""
    fields = asdict(item) if is_dataclass(item) and not isinstance(item, type) else {}
    plain = {k: v if isinstance(v, int | float | bool) else str(v) for k, v in fields.items()}
    return {"name": type(item).__name__, **plain}
