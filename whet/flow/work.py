"""`Work`: a training as whoever does it gets it, this process or a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task, predict
from whet.flow.scoring import returns
from whet.train.fit_report import FitReport
from whet.train.moving_average import MovingAverage
from whet.train.recipe import Recipe

JUDGED, MOST_JUDGED, JUDGED_SHARE = 2000, 16_000, 0.02
"""Validation samples that say whether a training did harm, at least and at most, and the share of its time they take.

On 2,000 samples of a regression a network that had lost four limits by a training seemed to have lost none.
"""
Training = Literal["short", "full", "finish"]


@dataclass
class Work:
    """A training that is not done yet: all that its result depends on beside the task, the original and the seed.

    A loss of quality of at most `tolerance` counts as no harm. `what`, `kind` and `operations` are for those who learn
    of it; with `scored` whoever does it scores the net too, on fewer samples where its drop is far above `most_drop`.
    """

    net: Net
    recipe: Recipe
    limit: Mapping[str, Any]
    tolerance: float
    what: Training
    kind: str
    operations: float
    scored: bool = False
    most_drop: float | None = None

    def done(self, run: Run) -> FitReport:
        """Do it, in place: the best of the weights before, after and averaged is kept, by the report's qualities."""
        net, module = self.net, self.net.module
        state = {name: value.clone() for name, value in module.state_dict().items()}
        score = partial(quality, run.task, net, self.recipe.bf16())
        before, samples = judged(score, JUDGED_SHARE * self.limit.get("seconds", 0.0))
        ends: list[float] = []  # of the last weights, and of their average

        def judge() -> float:
            ends.append(score(samples))
            return run.task.loss_of_quality(ends[-1], before)

        mean = MovingAverage(judge=judge)
        recipe = replace(self.recipe, techniques=(*self.recipe.techniques, mean))
        report: FitReport = run.fit(net, recipe=recipe, **self.limit)
        after = ends[report.averaged] if ends else score(samples)
        report.held_before, report.held_after, report.kept = before, after, "after"
        if not run.task.loss_of_quality(after, before) <= self.tolerance:
            module.load_state_dict(state)
            report.kept = "before"
        return report


def quality(task: Task, net: Net, bf16: bool, samples: int = JUDGED) -> float:
    """Return the quality of a net on the first so many validation samples; of a task that is played, its return."""
    if task.played is not None:
        return float(returns(task, net, bf16).mean())
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return task.score(*predict(net.eval(), task.val, samples))


def judged(score: Callable[[int], float], seconds: float) -> tuple[float, int]:
    """Return the score of as many samples as are scored in about so many seconds, and how many they are.

    They are `JUDGED` to `MOST_JUDGED`.

    >>> judged(lambda samples: samples / 2, seconds=0.0)
    (1000.0, 2000)
    """
    samples, began = JUDGED, time.monotonic()
    found = score(samples)
    while samples < MOST_JUDGED and 2 * (time.monotonic() - began) < seconds:
        samples, began = 2 * samples, time.monotonic()
        found = score(samples)
    return found, samples
