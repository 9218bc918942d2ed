"""`Prospects`: what the candidates so far are expected to become with more training, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.forecast import BELIEVED, NOISE, Pair, Recovery, expected_best
from whet.flow.stage import Stage

STUCK = 0.9
"""What is left of a drop from which on training it is taken to lead nowhere."""
PROMISING = 0.02
"""The share of the best speed-up that a candidate must promise beyond it, or else more are looked for."""


class Prospects(Stage):
    """Says which candidate promises the most beyond the best so far, by the forecasts of `Recovery`."""

    @property
    def portion(self) -> float:
        """The share of a structure's training that comes after the finishers.

        Zero where the untouched network hardly loses by them; a budget that counts samples keeps it.
        """
        return self.plan.quantized_share if self.finishers and not self._finishes_untrained() else 0.0

    def _finishes_untrained(self) -> bool:
        untouched, limit = self.finished_untouched(), self.job.max_drop
        if untouched is None or limit is None or self.plan.full_samples is not None:
            return False
        return untouched.drop <= NOISE * limit

    @property
    def settling(self) -> float:
        """How long the training after the finishers is, in shares of the one before."""
        return self.portion / (1 - self.portion)

    def limit_of(self, share: float) -> float | None:
        return None if self.plan.full_samples is None else self.plan.full_samples * share

    def _trained(self) -> list[Trial]:
        """Return the structures that were verified as they are, without finishers; most were trained in earnest."""
        return [t for t in self.of_stage("full") if self.is_structural(t) and not self.is_finished(t)]

    def is_structural(self, trial: Trial) -> bool:
        """Say whether a trial cuts or trains anything, which the untouched network with the finishers does not."""
        return bool(trial.samples) or any(name in self.space.choices for name in trial.decision)

    def _earnest(self) -> list[Trial]:
        """Return those of them that had a training of their own, which one verified as it was explored had not."""
        return [t for t in self._trained() if t.samples > self.samples_of(t.parent)]

    def _gone_on_with(self) -> set[int | None]:
        """Return the numbers of the candidates that were trained on in earnest, or failed when they were."""
        failed = (t for t in self.failures("full") if not self.is_finished(t))
        return {t.parent for t in [*self._trained(), *failed]}

    def _finishing_of(self, trial: Trial) -> Trial | None:
        found = [t for t in self.of_stage("full") if t.parent == trial.number and self.is_finished(t)]
        return min(found, key=lambda t: t.drop, default=None)

    def choose(self, seconds: float, told: Sequence[Trial] = ()) -> tuple[Trial | None, float]:
        """Return the candidate with the largest gain to be expected beyond the best so far, and how large.

        The gain is a share of the best. Candidates are those of short training, those that missed the limit after a
        full one, as they were or with the finishers, not yet gone on with, and those `told` of, whose speed is a
        forecast. Where none promises anything, it is the one nearest to the limit of those that would be faster than
        the best.
        """
        waiting = self._waiting(told)
        if not waiting:
            return None, 0.0
        if self.job.max_drop is None:
            return max(waiting, key=self.merit), math.inf
        best = self._promised_gain()
        worth = self._worth(waiting, self.job.max_drop, seconds, best)
        if max(worth.values()) > 0:
            chosen = max(waiting, key=lambda t: worth[t.number])
            return chosen, worth[chosen.number] / best
        return min(waiting, key=lambda t: self._left(t, seconds)), 0.0

    def _waiting(self, told: Sequence[Trial]) -> list[Trial]:
        """Return the candidates that may be trained next; with a limit those that would be faster than the best."""
        explored = [*self.of_stage("short"), *told] if len(self.space) else [self._identity_trial()]
        continued = self._gone_on_with()
        missed = [t for t in map(self._worse, self._trained()) if not self.bench.feasible(t) and not self._stuck(t)]
        waiting = [t for t in explored + missed if t.number not in continued]
        if self.job.max_drop is None:
            return waiting
        best = self._promised_gain()
        return [t for t in waiting if self._forecast_gain(t) > best and not self._breaks(t)]

    def best_of_rounds(self, rounds: int, seconds: float, told: Sequence[Trial]) -> float:
        """Return what so many trainings of `seconds` each, of what promises most, are expected to gain together."""
        limit, best, more = self.job.max_drop or 0.0, self._promised_gain(), self._samples_in(seconds)
        odds = []
        for trial in self._waiting(told):
            recovery, gain = self.recovery(limit, *self._kind(trial)), self._forecast_gain(trial) - best
            odds.append((recovery.chance(trial.drop, self.fresh_samples(trial), more), gain))
        return expected_best(sorted(odds, key=lambda odd: -odd[0] * odd[1])[:rounds])

    def _stuck(self, trial: Trial) -> bool:
        """Say whether training a structure on in earnest took next to nothing from its drop: more will not either."""
        before = None if trial.parent is None or trial.parent < 0 else self.study.trials[trial.parent]
        if before is None or before.stage != "full" or self.is_finished(before) or before.decision != trial.decision:
            return False
        return trial.drop > STUCK * before.drop

    def _breaks(self, trial: Trial) -> bool:
        """Say whether a trial is too large or too slow, which training does not mend."""
        return self.job.objectives.violation(trial.speedup, trial.size_bytes) > 0

    def _worth(self, trials: Sequence[Trial], limit: float, seconds: float, best: float) -> dict[int, float]:
        """Return by how much each trial, by its number, is expected to beat `best` after more training."""
        more = self._samples_in(seconds)
        return {
            t.number: self.recovery(limit, *self._kind(t)).worth(
                self._forecast_gain(t), best, t.drop, self.fresh_samples(t), more
            )
            for t in trials
        }

    def _left(self, trial: Trial, seconds: float) -> float:
        """Return the drop to expect of a trial after `seconds` more."""
        recovery = self.recovery(self.job.max_drop or 0.0, *self._kind(trial))
        return recovery.expected(trial.drop, self.fresh_samples(trial), self._samples_in(seconds))

    def _worse(self, trial: Trial) -> Trial:
        """Return a trained candidate with the larger of its drops, as it was and with the finishers."""
        finished = self._finishing_of(trial)
        return trial if finished is None else replace(trial, drop=max(trial.drop, finished.drop))

    def _promises(self, trials: Sequence[Trial], limit: float, seconds: float) -> bool:
        """Say whether one of the trials is expected to beat the best by more than `PROMISING` after more training."""
        best = self._promised_gain()
        return any(worth > PROMISING * best for worth in self._worth(trials, limit, seconds, best).values())

    def _base(self) -> Trial | None:
        """Return the fastest trained structure that is within the limit as it is and with the finishers.

        One that lost nothing as it is can be cut further, whatever the finishers cost it.
        """
        pairs = [(t, self._worse(t)) for t in self._trained()]
        within = [worse for _, worse in pairs if self.bench.feasible(worse)]
        unharmed = [t for t, worse in pairs if t.drop <= 0 and not self.bench.feasible(worse)]
        return max(within + unharmed, key=self._forecast_gain, default=None)

    def _short_samples(self) -> int:
        """Return what candidates were trained on when the strategy was told of their drops."""
        return self.head_start or max([1, *(t.samples for t in self.of_stage("short") if t.parent is None)])

    def _samples_in(self, seconds: float) -> float:
        return self.limit_of(1 - self.portion) or seconds * self.bench.samples_per_second

    def _promised_gain(self) -> float:
        """Return the largest gain within the limits that is verified, or is to be expected of what is unfinished."""
        unfinished = [t for t in self._trained() if self.bench.feasible(t) and not self._finishing_of(t)]
        expected = map(self._forecast_gain, unfinished if self.finishers else [])
        return max([self.best_gain(), *expected])

    def _forecast_gain(self, trial: Trial) -> float:
        """Return the gain with the finishers: for a trained candidate that of the explored one it began as."""
        while trial.stage == "full" and trial.parent is not None and trial.parent >= 0:
            before = self.study.trials[trial.parent]
            if before.stage == "predicted":  # what was measured since says more
                break
            trial = before
        return trial.gain

    def _identity_trial(self) -> Trial:
        return Trial(-1, "short", Decision(), self.bench.reference, 0.0, 1.0)

    def recovery(self, limit: float, earnest: bool = False, lasting: bool | None = None) -> Recovery:
        """Return the forecast of drops, from what the full trainings of its kind so far did to theirs.

        `earnest` says that training in earnest went before, `lasting` that there were cuts whose damage lasts: by
        default that the space has such choices.
        """
        kind = earnest, any(map(self._lasts, self.space.choices)) if lasting is None else lasting
        pairs: dict[bool, list[Pair]] = {True: [], False: []}
        for later in self._trained():
            if later.parent is not None and later.parent >= 0:
                before = self.study.trials[later.parent]
                figures = before.drop, self.fresh_samples(before), later.drop, self.fresh_samples(later)
                pairs[self._kind(before) == kind].append(figures)
        return Recovery.learnt(limit, pairs[True], pairs[False], BELIEVED[kind])

    def _kind(self, trial: Trial) -> tuple[bool, bool]:
        """Return whether a trial was trained in earnest, and whether it has cuts whose damage lasts."""
        return trial.stage == "full" and trial.samples > 0, any(map(self._lasts, trial.decision))

    def _lasts(self, name: str) -> bool:
        choice = self.space.choices.get(name)
        return choice is not None and choice.lasting > 1
