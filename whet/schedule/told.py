"""`Told`: the drop that the error of a candidate's outputs tells before it is scored."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

from whet.core.space import Decision
from whet.core.study import Study
from whet.core.task import Task

NEAREST = 3
"""How many scored candidates drops are told from errors by: those nearest to the limit, for the rate rises with it."""
DIGITS = 6
"""Of an error and of what it tells: sums of floats differ from run to run in the last digits, studies must not."""
DROP_OF_ERROR = 0.3
"""The drop for each unit of error where no candidate was scored."""


class Told:
    """What is known of errors and drops of candidates that were scored as they were repaired: `untrained`, by decision.

    `reference` returns the quality that drops are told from. Without `repairs` errors are not looked at.
    """

    def __init__(self, study: Study, task: Task, reference: Callable[[], float], repairs: bool) -> None:
        self.study, self.task, self.reference, self.repairs = study, task, reference, repairs
        known = study.recall("untrained") or {}
        self.untrained = {Decision.from_json(key): (float(error), float(drop)) for key, (error, drop) in known.items()}
        errors = study.recall("errors") or {}
        self.errors = {Decision.from_json(key): float(error) for key, error in errors.items()}
        """Of candidates that were left at what their errors tell."""
        self.probed = set(map(Decision.from_json, study.recall("probed") or ()))
        """Those of them that are probes: what they gain is told of the network without finishers."""

    def note(self, decision: Decision, error: float, probed: bool = False) -> None:
        """Keep the outputs' error of a candidate that is not scored: what it tells follows what others lose."""
        self.errors[decision] = round(error, DIGITS)
        self.study.remember("errors", {d.to_json(): each for d, each in self.errors.items()})
        self.probed = self.probed | {decision} if probed else self.probed - {decision}
        self.study.remember("probed", sorted(d.to_json() for d in self.probed))

    def remember(self, decision: Decision, error: float, drop: float) -> None:
        """Keep the outputs' error and the drop of a scored candidate, also for when the study is resumed."""
        self.untrained[decision] = round(error, DIGITS), drop
        self.study.remember("untrained", {d.to_json(): pair for d, pair in self.untrained.items()})

    def by_errors(self, max_drop: float | None) -> float | None:
        """Return the drop for each unit of the outputs' error, by the candidates that were scored; None without errors.

        An error on some hundred inputs says more of a single cut, which hardly loses anything, than the drop on a
        sample of the validation data, and costs less. What candidates lose corrects all such drops by one factor.
        """
        if not self.repairs:
            return None
        seen = [(max(drop, 0.0), error) for error, drop in self.untrained.values() if error > 0]
        limit = max_drop or math.inf
        seen.sort(key=lambda each: abs(math.log(max(each[0], 1e-9) / limit)) if math.isfinite(limit) else 0.0)
        rates = [drop / error for drop, error in seen[:NEAREST]]
        return median(rates) if any(rates) else DROP_OF_ERROR

    def rate(self, max_drop: float | None) -> float:
        """Return the drop for each unit of error, where there are errors."""
        return self.by_errors(max_drop) or DROP_OF_ERROR

    def quality(self, rate: float, error: float) -> float:
        """Return the quality that the error of a net's outputs tells."""
        return quality_at(round(rate * error, DIGITS), self.reference(), self.task)

    def drop(self, error: float, max_drop: float | None) -> float:
        """Return the drop that the error of a net's outputs tells by now."""
        return self.drop_of(self.quality(self.rate(max_drop), error))

    def drop_of(self, quality: float) -> float:
        """Return by how much a quality that was told is worse than the reference."""
        return self.task.loss_of_quality(quality, self.reference())


def quality_at(drop: float, reference: float, task: Task) -> float:
    """Return the quality that is worse than `reference` by `drop`: the inverse of `Task.loss_of_quality`.

    >>> from whet.core.task import Task
    >>> round(quality_at(0.02, 0.91, Task("t", None, [1])), 2)
    0.89
    """
    lost = drop if task.drop == "absolute" else drop * abs(reference)
    return reference - lost if task.direction == "max" else reference + lost
