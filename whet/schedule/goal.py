"""`Goal`: what a search is to reach, and what it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from whet.core.objectives import Objectives
from whet.core.study import Trial

TYPICAL_DROP = 0.05
"""The drop that halves what a gain is worth where there is no limit."""


@dataclass(frozen=True)
class Goal:
    """The largest drop in the unit of `Task.drop`, the objectives, and what limits the search.

    `trials` ends the exploration after so many candidates; the budget is infinite where it is in epochs.
    """

    max_drop: float | None = None
    objectives: Objectives = field(default_factory=Objectives)
    budget_seconds: float = math.inf
    trials: int | None = None

    @property
    def timed(self) -> bool:
        """Whether the budget is one of time, and not of epochs."""
        return not math.isinf(self.budget_seconds)

    def feasible(self, trial: Trial) -> bool:
        """Say whether a verified trial is within all limits."""
        good = self.max_drop is None or trial.drop <= self.max_drop
        return good and self.objectives.met(trial)

    def breaks(self, trial: Trial) -> bool:
        """Say whether a trial is too large or too slow, which training does not mend."""
        return self.objectives.violation(trial) > 0

    def merit(self, trial: Trial) -> float:
        """Return what a trial gains for what it loses: a drop of the whole limit halves it."""
        limit = TYPICAL_DROP if self.max_drop is None else max(self.max_drop, 1e-9)
        return trial.gain / (1 + max(trial.drop, 0.0) / limit)
