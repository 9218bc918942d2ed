"""`History`: what a scheduler asks the log."""

from __future__ import annotations

from collections.abc import Iterable

from whet.core.objectives import Served
from whet.core.space import Decision, Space
from whet.core.study import Study, Trial
from whet.decisions.pareto import non_dominated
from whet.schedule.goal import Goal
from whet.schedule.recovery import mixed_samples

SETTING = "runtime:"
"""How the names of a target's own choices begin."""
IN_A_ROW = 6
"""After so many failures one after the other nothing more of the kind is tried."""
REPAIRED_SAMPLES = 4500
"""How many samples of training a repair is worth: it is as if drops had been falling since then.

ResNet-44's drop of 5.4 points at half of its inner channels was 3.6 after 8,000 more samples, at 0.3 of the recipe's
rate, and that of 10.9 without every second block 6.6 at the full rate; the powers of `whet.schedule.recovery` say 4,600
and 4,650. Of windows of 128 characters, each with a prediction for every one, a decoder's drop of 6.0 % at half of its
neurons was 1.1 after 5,200: as many as 90 windows, or 11,000 characters, are by those powers.
"""
UNMET = 1e-3
"""The gain of the original where it is not within the limits itself: whatever is beats it."""
SCORED_NOTE = "gain forecast, scored from the file"
"""Of a trial that was found beyond the limit when it was verified, and therefore not timed."""


class History:
    """The queries of one study's log. `space` is that of the structure; other names in decisions are finishers'.

    `repairs` says that candidates are repaired, which is worth `head_start` samples of training: fewer of those that
    have many `predictions` each.
    """

    def __init__(
        self, study: Study, space: Space, goal: Goal, repairs: bool, whole: Served, predictions: int = 1
    ) -> None:
        self.study, self.space, self.goal, self.whole = study, space, goal, whole
        self.head_start = max(1, REPAIRED_SAMPLES // predictions) if repairs else 0

    def of_stage(self, *stages: str) -> list[Trial]:
        """Return the trials of one or several stages, in the order they were made."""
        return [t for t in self.study.trials if t.stage in stages]

    def failures(self, attempted: str) -> list[Trial]:
        """Return the trials that failed before they became one of a stage."""
        return [t for t in self.of_stage("failed") if t.attempted == attempted]

    def hopeless(self) -> bool:
        """Say whether candidates fail one after the other, so that there is no sense in trying more."""
        last = self.study.trials[-IN_A_ROW:]
        return len(last) == IN_A_ROW and all(t.stage == "failed" for t in last)

    def front_of(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials within the limits that no other one beats in gain and quality."""
        within = [t for t in trials if self.goal.feasible(t)]
        return [within[i] for i in non_dominated([(-t.gain, t.drop) for t in within])]

    def best_gain(self) -> float:
        """Return the largest gain that is verified and within the limits; the original's is 1, where it is."""
        original = 1.0 if self.goal.objectives.met(self.whole) else UNMET
        return max([original, *(t.gain for t in self.of_stage("full") if self.goal.feasible(t))])

    def explored(self) -> list[Trial]:
        """Return the trials of the exploration: repaired or briefly trained, and those that were verified at once."""
        full = [t for t in self.of_stage("full") if t.parent is None and not t.samples and self.structural(t.decision)]
        return sorted(self.of_stage("short") + full, key=lambda t: t.number)

    # -- the structure and its finishers -----------------------------------------------------------------------------

    def structural(self, decision: Decision) -> Decision:
        """Return what a decision says of the structure, without the finishers."""
        return Decision({n: v for n, v in decision.items() if n in self.space.choices})

    def finishes(self, decision: Decision) -> bool:
        """Say whether a decision applies finishers; in which setting it was measured changes no file."""
        return any(n not in self.space.choices and not n.startswith(SETTING) for n in decision)

    def is_finished(self, trial: Trial) -> bool:
        """Say whether finishers were applied in `trial`."""
        return self.finishes(trial.decision)

    def is_structural(self, trial: Trial) -> bool:
        """Say whether a trial cuts or trains anything, which the untouched network with the finishers does not."""
        return bool(trial.samples) or any(name in self.space.choices for name in trial.decision)

    def untouched(self) -> list[Trial]:
        """Return the trials of the untrained, untouched network with the finishers, in the order they were made."""
        untrained = (t for t in self.of_stage("full") if not t.samples and len(t.decision))
        return [t for t in untrained if not any(n in self.space.choices for n in t.decision)]

    # -- what a trial goes back to -----------------------------------------------------------------------------------

    def parent(self, trial: Trial) -> Trial | None:
        """Return the trial that one continues, if it does."""
        return None if trial.parent is None or trial.parent < 0 else self.study.trials[trial.parent]

    def own_samples(self, trial: Trial) -> int:
        """Return what a trial was trained on since the one that it continues."""
        parent = self.parent(trial)
        return trial.samples - (parent.samples if parent is not None else 0)

    def fresh_samples(self, trial: Trial) -> int:
        """Return the samples after which a net trained from scratch would have the drop of `trial` and its future.

        What a trial inherits was trained longer than what its own cuts broke.
        """
        parent = self.parent(trial)
        if parent is None:
            return trial.samples + self.head_start
        own, inherited = trial.samples - parent.samples, min(max(parent.drop, 0.0), max(trial.drop, 0.0))
        if len(trial.decision) <= len(parent.decision):  # gone on with as it was
            return own + self.fresh_samples(parent)
        return mixed_samples([(inherited, own + self.fresh_samples(parent)), (trial.drop - inherited, own)])
