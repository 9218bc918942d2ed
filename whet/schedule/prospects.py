"""`Prospects`: what the candidates so far are expected to become with more training, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.portion import Portion
from whet.schedule.recovery import BELIEVED, Pair, Recovery, expected_best
from whet.schedule.situation import Situation
from whet.schedule.trained import Trained

PROMISING = 0.02
"""The share of the best speed-up that a candidate must promise beyond it, or else more are looked for."""

learnt = lru_cache(maxsize=64)(Recovery.learnt)


class Prospects:
    """Says which candidate promises the most beyond the best so far, by the forecasts of `Recovery`."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.trained, self.portion = Trained(situation.history, situation.finishing), Portion(situation)

    def choose(
        self, seconds: float, told: Sequence[Trial] = (), without: Sequence[Trial] = ()
    ) -> tuple[Trial | None, float]:
        """Return the candidate with the largest gain to be expected beyond the best so far, and how large.

        The gain is a share of the best. Candidates are those of short training, those that missed the limit after a
        full one, as they were or with the finishers, not yet gone on with, and those `told` of, whose speed is a
        forecast. Where none promises anything, it is the one nearest to the limit of those that would be faster than
        the best. None is of those `without` which it is asked for: they are trained at the same time.
        """
        taken, goal = {t.number for t in without}, self.situation.goal
        waiting = [t for t in self._waiting(told) if t.number not in taken]
        if not waiting:
            return None, 0.0
        if goal.max_drop is None:
            return max(waiting, key=goal.merit), math.inf
        best = self.promised_gain()
        worth = self.worth(waiting, goal.max_drop, seconds, best)
        if max(worth.values()) > 0:
            chosen = max(waiting, key=lambda t: worth[t.number])
            return chosen, worth[chosen.number] / best
        return min(waiting, key=lambda t: self.left(t, seconds)), 0.0

    def _waiting(self, told: Sequence[Trial]) -> list[Trial]:
        """Return the candidates that may be trained next; with a limit those that would be faster than the best."""
        s, goal = self.situation, self.situation.goal
        explored = [*s.history.of_stage("short"), *told] if len(s.space) else [self._identity_trial()]
        continued = self.trained.gone_on_with()
        worse = map(self.trained.worse, self.trained.structures())
        missed = [t for t in worse if not goal.feasible(t) and not self.trained.is_stuck(t)]
        waiting = [t for t in explored + missed if t.number not in continued]
        if goal.max_drop is None:
            return waiting
        best = self.promised_gain()
        return [t for t in waiting if self.trained.forecast_gain(t) > best and not goal.breaks(t)]

    def best_of_rounds(self, rounds: int, seconds: float, told: Sequence[Trial]) -> float:
        """Return what so many trainings of `seconds` each, of what promises most, are expected to gain together."""
        limit, best, more = self.situation.goal.max_drop or 0.0, self.promised_gain(), self.portion.samples_in(seconds)
        odds = []
        for trial in self._waiting(told):
            recovery, samples = self._recovery_of(trial, limit)
            odds.append((recovery.chance(trial.drop, samples, more), self.trained.forecast_gain(trial) - best))
        return expected_best(sorted(odds, key=lambda odd: -odd[0] * odd[1])[:rounds])

    def _identity_trial(self) -> Trial:
        return Trial(-1, "short", Decision(), self.situation.facts.reference(), 0.0, 1.0)

    def worth(self, trials: Sequence[Trial], limit: float, seconds: float, best: float) -> dict[int, float]:
        """Return by how much each trial, by its number, is expected to beat `best` after more training."""
        found, more = dict[int, float](), self.portion.samples_in(seconds)
        for trial in trials:
            recovery, samples = self._recovery_of(trial, limit)
            found[trial.number] = recovery.worth(self.trained.forecast_gain(trial), best, trial.drop, samples, more)
        return found

    def _recovery_of(self, trial: Trial, limit: float) -> tuple[Recovery, int]:
        """Return the forecast of a trial's drop, and the samples that it stands at."""
        return self.recovery(limit, *self.kind(trial)), self.situation.history.fresh_samples(trial)

    def left(self, trial: Trial, seconds: float) -> float:
        """Return the drop to expect of a trial after `seconds` more."""
        recovery, samples = self._recovery_of(trial, self.situation.goal.max_drop or 0.0)
        return recovery.expected(trial.drop, samples, self.portion.samples_in(seconds))

    def promise(self, trials: Sequence[Trial], limit: float, seconds: float) -> bool:
        """Say whether one of the trials is expected to beat the best by more than `PROMISING` after more training."""
        best = self.promised_gain()
        return any(worth > PROMISING * best for worth in self.worth(trials, limit, seconds, best).values())

    def base(self) -> Trial | None:
        """Return the fastest trained structure that is within the limit as it is and with the finishers.

        One that lost nothing as it is can be cut further, whatever the finishers cost it.
        """
        feasible = self.situation.goal.feasible
        pairs = [(t, self.trained.worse(t)) for t in self.trained.structures()]
        within = [worse for _, worse in pairs if feasible(worse)]
        unharmed = [t for t, worse in pairs if t.drop <= 0 and not feasible(worse)]
        return max(within + unharmed, key=self.trained.forecast_gain, default=None)

    def short_samples(self) -> int:
        """Return what candidates were trained on when the strategy was told of their drops."""
        history = self.situation.history
        return history.head_start or max([1, *(t.samples for t in history.of_stage("short") if t.parent is None)])

    def promised_gain(self) -> float:
        """Return the largest gain within the limits that is verified, or is to be expected of what is unfinished."""
        s = self.situation
        structures = self.trained.structures() if s.finishing.worthwhile else []
        unfinished = [t for t in structures if s.goal.feasible(t) and not self.trained.finishing_of(t)]
        return max([s.history.best_gain(), *map(self.trained.forecast_gain, unfinished)])

    def recovery(self, limit: float, earnest: bool = False, lasting: bool | None = None) -> Recovery:
        """Return the forecast of drops, from what the full trainings so far did to theirs.

        `earnest` says that training in earnest went before, `lasting` that there were cuts whose damage lasts: by
        default that the space has such choices.
        """
        history = self.situation.history
        kind = earnest, any(map(self._lasts, self.situation.space.choices)) if lasting is None else lasting
        seen = list[tuple[Pair, float]]()
        for later in self.trained.structures():
            before = history.parent(later)
            if before is not None and later.samples > before.samples:
                figures = before.drop, history.fresh_samples(before), later.drop, history.fresh_samples(later)
                seen.append((figures, BELIEVED[self.kind(before)]))
        return learnt(limit, tuple(seen), BELIEVED[kind])

    def kind(self, trial: Trial) -> tuple[bool, bool]:
        """Return whether a trial was trained in earnest, and whether it has cuts whose damage lasts."""
        return trial.stage == "full" and trial.samples > 0, any(map(self._lasts, trial.decision))

    def _lasts(self, name: str) -> bool:
        choice = self.situation.space.choices.get(name)
        return choice is not None and choice.lasting > 1


def beside(prospects: Prospects, first: Trial, seconds: float, told: Sequence[Trial], most: int) -> list[Trial]:
    """Return a candidate and those that promise something beside it, at most so many in all, to train at once."""
    chosen = [first]
    while len(chosen) < most:
        other, worth = prospects.choose(seconds, told, without=chosen)
        if other is None or worth < PROMISING:
            break
        chosen.append(other)
    return chosen
