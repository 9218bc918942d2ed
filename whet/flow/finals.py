"""`Finals`: the few candidates that may be on the front are trained for real, finished and verified."""

from __future__ import annotations

import math
from dataclasses import replace

from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.explore import Explore
from whet.flow.forecast import Recovery
from whet.flow.stage import Plan, Stage
from whet.flow.workbench import Workbench

PROMISING = 0.02
"""The share of the best speed-up that a candidate must promise beyond it, or else more are looked for."""
MORE = 4
LEFT = 4.0
"""How many times a short training must be left for a full one after more candidates were tried."""


class Finals(Stage):
    """Rounds of full training; each takes the candidate that promises the most beyond the best so far."""

    def __init__(self, bench: Workbench, plan: Plan, explorer: Explore) -> None:
        super().__init__(bench, plan)
        self.explorer = explorer

    def run(self) -> None:
        """Train the most promising structures for real; verify each as it is, then with the finishers.

        What is left of the budget is shared by the rounds to come; a structure whose finishing was lost to a kill
        is finished first.
        """
        planned = self.plan.rounds(self.job.budget_seconds) if len(self.space) else 1
        while True:
            trained = [t for t in self.of_stage("full") if t.samples and not self._is_finished(t)]
            unfinished = [t for t in trained if self.job.finishers and not self._finishing_of(t)]
            rounds = planned - len(trained)
            if not unfinished and rounds <= 0:
                break
            units = rounds + self.portion * len(unfinished)
            share = (self.run_.budget.left_seconds - self.reserve_seconds) / units - self._finishing_seconds()
            if share < 2.0:
                break
            if unfinished:
                self.finish(unfinished[0], share * self.portion)
                continue
            candidate, worth = self.choose(share * (1 - self.portion))
            if worth < PROMISING and self.explore_more(share * (1 - self.portion)):
                continue
            if candidate is None:
                break
            self.full(candidate, share * (1 - self.portion))

    @property
    def portion(self) -> float:
        """The share of a round's training that comes after the finishers."""
        return self.plan.quantized_share if self.job.finishers else 0.0

    def limit_of(self, share: float) -> float | None:
        return None if self.plan.full_samples is None else self.plan.full_samples * share

    def _is_finished(self, trial: Trial) -> bool:
        """Say whether finishers were applied in `trial`."""
        return any(n not in self.space.choices for n in trial.decision)

    def _finishing_of(self, trial: Trial) -> Trial | None:
        return next((t for t in self.of_stage("full") if t.parent == trial.number and self._is_finished(t)), None)

    def _finishing_seconds(self) -> float:
        files = 1 + bool(self.job.finishers)
        return files * (self.bench.cost("save", 3.0) + self.bench.cost("race", 2.0) + self.bench.cost("evaluate", 1.0))

    def choose(self, seconds: float) -> tuple[Trial | None, float]:
        """Return the candidate with the largest speed-up to be expected beyond the best so far, and how large.

        The gain is a share of the best. Candidates are those of short training and those that missed the limit after
        a full one, as they were or with the finishers, not yet gone on with. Where none promises anything, the one
        nearest to the limit is returned.
        """
        explored = self.of_stage("short") if len(self.space) else [self._identity_trial()]
        trained = [t for t in self.of_stage("full") if t.samples and not self._is_finished(t)]
        continued = {t.parent for t in trained}
        missed = [t for t in map(self._worse, trained) if not self.bench.feasible(t)]
        waiting = [t for t in explored + missed if t.number not in continued]
        if not waiting:
            return None, 0.0
        if self.job.max_drop is None:
            return max(waiting, key=lambda t: t.speedup / (1 + max(t.drop, 0.0) * 20)), math.inf
        more = self._samples_in(seconds)
        recovery, best = self.recovery(self.job.max_drop), self._best_speedup()
        worth = {t.number: recovery.worth(self._forecast_speedup(t), best, t.drop, t.samples, more) for t in waiting}
        if max(worth.values()) > 0:
            chosen = max(waiting, key=lambda t: worth[t.number])
            return chosen, worth[chosen.number] / best
        return min(waiting, key=lambda t: recovery.expected(t.drop, t.samples, more)), 0.0

    def _worse(self, trial: Trial) -> Trial:
        """Return a trained candidate with the larger of its drops, as it was and with the finishers."""
        finished = self._finishing_of(trial)
        return trial if finished is None else replace(trial, drop=max(trial.drop, finished.drop))

    def explore_more(self, seconds: float) -> bool:
        """Try another candidate whose drop `seconds` of training can just mend; say whether there was one, and time.

        No more than `MORE` come between two full trainings.
        """
        fulls = [t.number for t in self.of_stage("full")]
        shorts = [t for t in self.of_stage("short") if t.number > max(fulls, default=-1)]
        limit = self.job.max_drop
        if limit is None or self.job.trials is not None or not len(self.space) or len(shorts) >= MORE:
            return False
        until = self.job.budget_seconds - self.reserve_seconds - self._finishing_seconds()
        until -= self.explorer.short_seconds() * LEFT
        samples = max([1, *(t.samples for t in self.of_stage("short") if t.parent is None)])
        self.explorer.aim(self.recovery(limit).mendable(samples, self._samples_in(seconds)))
        self.say("looking for more candidates")
        return self.explorer.one_more(until)

    def _samples_in(self, seconds: float) -> float:
        return self.limit_of(1 - self.portion) or seconds * self.bench.samples_per_second

    def _best_speedup(self) -> float:
        """Return the largest speed-up that is verified and within the limit."""
        return max([1.0, *(t.speedup for t in self.of_stage("full") if self.bench.feasible(t))])

    def _forecast_speedup(self, trial: Trial) -> float:
        """Return the speed-up with the finishers: for a trained candidate that of the explored one it began as."""
        while trial.stage == "full" and trial.parent is not None and trial.parent >= 0:
            trial = self.study.trials[trial.parent]
        return trial.speedup

    def _identity_trial(self) -> Trial:
        return Trial(-1, "short", Decision(), self.bench.reference, 0.0, 1.0)

    def recovery(self, limit: float) -> Recovery:
        """Return the forecast of drops, from what the full trainings so far did to theirs."""
        plain = [t for t in self.of_stage("full") if not self._is_finished(t)]
        pairs = [(self.study.trials[t.parent], t) for t in plain if t.parent is not None and t.parent >= 0]
        return Recovery.learnt(limit, [(a.drop, a.samples, b.drop, b.samples) for a, b in pairs])

    def full(self, candidate: Trial, duration: float) -> None:
        """Train one candidate's structure and verify it as it is.

        Without hints: they help the first epoch and no longer the third, and without them the teacher is remembered.
        """
        self.say(f"training candidate {candidate.number} (x{candidate.speedup:.2f})")
        result = self.bench.structure(candidate.decision)
        net, parent = self.bench.inherit(candidate.decision, result.net)
        recipe = replace(self.job.recipe, hints=())
        limit = self.plan.limit(duration, self.limit_of(1 - self.portion))
        report = self.bench.train(net, recipe, "full", **limit)
        samples = self.samples_of(parent) + report.samples
        self.verify(replace(result, net=net), candidate.decision, samples, candidate.number)

    def finish(self, trained: Trial, duration: float) -> None:
        """Apply the finishers to a trained structure, let it settle at a tenth of the learning rate, verify it."""
        self.say(f"finishing trial {trained.number} in int8")
        decision = trained.decision.merge(self.finisher_decision())
        finished = self.bench.finish(self.bench.rebuild(trained), decision)
        gentle = replace(self.job.recipe, learning_rate=self.job.recipe.learning_rate * 0.1, hints=())
        limit = self.plan.limit(duration, self.limit_of(self.portion))
        report = self.bench.train(finished.net, gentle, "finish", **limit)
        both = replace(
            finished,
            changed={**trained.changed, **finished.changed},
            skipped={**trained.skipped, **finished.skipped},
        )
        self.verify(both, decision, trained.samples + report.samples, trained.number)
