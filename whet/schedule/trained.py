"""`Trained`: the structures that were verified without finishers, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whet.core.study import Trial
from whet.schedule.finishing import Finishing
from whet.schedule.history import History

STUCK = 0.9
"""What is left of a drop from which on training it is taken to lead nowhere."""


@dataclass(frozen=True)
class Trained:
    """The queries of a log about structures that were verified as they are; most were trained in earnest."""

    history: History
    finishing: Finishing

    def structures(self) -> list[Trial]:
        """Return the structures that were verified as they are, without finishers."""
        full = self.history.of_stage("full")
        return [t for t in full if self.history.is_structural(t) and not self.history.is_finished(t)]

    def in_earnest(self) -> list[Trial]:
        """Return those of them that had a training of their own, which one verified as it was explored had not."""
        return [t for t in self.structures() if self.history.own_samples(t) > 0]

    def gone_on_with(self) -> set[int | None]:
        """Return the numbers of the candidates that were trained on in earnest, or failed when they were."""
        failed = (t for t in self.history.failures("full") if not self.history.is_finished(t))
        return {t.parent for t in [*self.structures(), *failed]}

    def finishing_of(self, trial: Trial) -> Trial | None:
        """Return the best finished form of a structure."""
        found = [t for t in self.history.of_stage("full") if t.parent == trial.number and self.history.is_finished(t)]
        return min(found, key=lambda t: t.drop, default=None)

    def worse(self, trial: Trial) -> Trial:
        """Return a trained candidate with the larger of its drops, as it was and with the finishers."""
        finished = self.finishing_of(trial)
        return trial if finished is None else replace(trial, drop=max(trial.drop, finished.drop))

    def is_stuck(self, trial: Trial) -> bool:
        """Say whether training a structure on in earnest took next to nothing from its drop: more will not either."""
        before = self.history.parent(trial)
        if before is None or before.stage != "full" or self.history.is_finished(before):
            return False
        return before.decision == trial.decision and trial.drop > STUCK * before.drop

    def forecast_gain(self, trial: Trial) -> float:
        """Return the gain with the finishers: for a trained candidate that of the explored one it began as.

        Of one whose gain was only foretold what was measured since says more: that of the structure as it is.
        """
        while trial.stage == "full" and (before := self.history.parent(trial)) is not None:
            if before.stage == "predicted":
                return trial.gain * (1.0 if self.history.is_finished(trial) else self.finishing.base_gain)
            trial = before
        return trial.gain
