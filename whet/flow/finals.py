"""`Finals`: the few candidates that may be on the front are trained for real, finished and verified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from whet.core.net import Net
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.explore import LASTING, Explore
from whet.flow.forecast import BELIEVED, NOISE, SPARE, Pair, Recovery
from whet.flow.stage import Plan, Stage
from whet.flow.workbench import Workbench
from whet.train.average import averaged
from whet.train.recipe import Recipe

PROMISING = 0.02
"""The share of the best speed-up that a candidate must promise beyond it, or else more are looked for."""
MORE = 4
GROWN = 3
"""How many candidates that extend a trained structure are tried at most, until one promises something."""
HOPELESS = 1.5
"""The drop, in shares of the limit, above which a trained structure is not finished even at the end."""
UNSPENT = 0.1
"""The share of the budget that may be left over without a word."""
LEAST_SECONDS = 2.0
"""The shortest training that is begun."""
LEFT = 4.0
"""How many times a short training must be left for a full one after more candidates were tried."""

SETTLED = 0.5
"""From which share on of the samples to come a candidate's own count as settled: it is trained on at a gentle rate.

Of ResNet-20 without three blocks, cut from a supernet after 260 thousand images, 90 thousand more made a drop of 1.42
points 1.82 at the full rate, 1.26 at 0.3 of it, 1.12 at 0.1, and 1.26 at 0.03. Of ResNet-44 without eleven, 150
thousand made 1.30 points 1.24, 0.86 and 1.16 at 1, 0.3 and 0.1. After 13 thousand alone another's 1.78 became 1.14 at
the full rate and 1.38 at 0.3 of it.
"""
GENTLE = {False: 0.3, True: 0.1}
"""The gentle learning rates, in shares of the recipe's, by whether training in earnest went before."""


class Finals(Stage):
    """Rounds of full training; each takes the candidate that promises the most beyond the best so far."""

    def __init__(self, bench: Workbench, plan: Plan, explorer: Explore) -> None:
        super().__init__(bench, plan)
        self.explorer = explorer

    def run(self) -> None:
        """Train the most promising structures for real; verify each as it is, and the best with the finishers.

        What is left of the budget is shared by the rounds to come. The first structure within the limit is finished at
        once, so that there is something to deliver; of the later ones only the fastest, at the end.
        """
        planned = self.plan.rounds(self.explorer.finals_seconds(), self._epochs_left()) if len(self.space) else 1
        if self.timed and self.job.budget_seconds > (self.study.recall("delivered_budget") or math.inf):
            planned = max(planned, len(self._earnest()) + 1)  # it ended with fewer seconds, and has more now
        while not self._exhausted():
            rounds = self._rounds(planned - len(self._earnest()))
            share = self._share(rounds)
            due = self._due(rounds, share * self.settling if self.settling else 0.0)
            if due is not None and self._left_after(1) >= 0:
                with self.bench.attempt("full", due.decision.merge(self.finisher_decision()), due.number):
                    self.finish(due, share * (self.settling or self.plan.quantized_share))
                continue
            if share < LEAST_SECONDS or not rounds:
                self._say_why(rounds > 0 and share < LEAST_SECONDS)
                break
            if self.grow(share):
                continue
            candidate, worth = self.choose(share)
            if worth < PROMISING and self.explore_more(share):
                continue
            if candidate is None:
                planned = len(self._earnest())
                continue
            with self.bench.attempt("full", candidate.decision, candidate.number):
                self.full(candidate, share)
        if self.timed and self._exhausted() and self.run_.budget.left_seconds > UNSPENT * self.job.budget_seconds:
            self.bench.note("the search ended early: only int8 is searched, and met the limit without training")

    def _say_why(self, short: bool) -> None:
        """Keep for the conclusion why no more is trained, where nothing was or a part of the budget is left over.

        `short` says that time is wanting, and not candidates.
        """
        budget, left = self.job.budget_seconds, self.run_.budget.left_seconds - self.reserve_seconds
        if not self.timed or not len(self.space):
            return
        if short and not self._earnest():
            self.bench.note(
                f"the budget of {budget:.0f} s is too short to train anything in earnest: here that needs about "
                f"{math.ceil(max(self.needed_seconds(), 1.1 * budget) / 10) * 10} s"
            )
        elif left > UNSPENT * budget:
            wanting = "is less than another training, its file and its scoring take"
            why = wanting if short else "is not used, as no candidate promises to be faster"
            self.bench.note(f"the search ended early: what is left of the budget, {left:.0f} s, {why}")

    def _exhausted(self) -> bool:
        """Say whether nothing in the space can be faster: only the finishers are searched, and met the limit untrained.

        The budget is what a search may take, not what it must.
        """
        if len(self.space) or self.job.max_drop is None:
            return False
        return any(self.is_finished(t) and self.bench.feasible(t) for t in self.of_stage("full"))

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

    def _epochs_left(self) -> float:
        """Return how many times the training data can be gone through in what is left of the budget."""
        samples = self.bench.epoch_samples
        return self._left_after(0) * self.bench.samples_per_second / samples if samples else 0.0

    def _rounds(self, planned: int) -> int:
        """Return how many more rounds there is time for, of those planned; one rather than none."""
        for rounds in range(max(planned, 0), 1, -1):
            if self._share(rounds) >= LEAST_SECONDS:
                return rounds
        return min(max(planned, 0), 1)

    def _share(self, rounds: int) -> float:
        """Return the seconds that each of the rounds to come may train."""
        left = self._left_after(rounds + bool(self.finishers))
        if rounds == 1 and left < LEAST_SECONDS:  # rather one that is not finished than none
            return max(left, self._left_after(1))
        return left / (rounds + self.settling) if rounds + self.settling else 0.0

    def _left_after(self, files: int) -> float:
        """Return the seconds that are left to train in, if so many files are verified."""
        return self.run_.budget.left_seconds - self.reserve_seconds - files * self.file_seconds

    def _due(self, rounds: int, seconds: float) -> Trial | None:
        """Return the trained structure that is to be finished now, in `seconds`, if there is one."""
        if not self.finishers:
            return None
        failed = {t.parent for t in self.failures("full") if self.is_finished(t)}
        waiting = [t for t in self._trained() if not self._finishing_of(t) and t.number not in failed]
        limit = self.job.max_drop
        if limit is None:
            return max(waiting, key=self._forecast_speedup, default=None)
        reach = limit if rounds else HOPELESS * limit
        # Where only finishers are searched, the noise in the original's own speed must not keep them from being tried.
        alone, best = not len(self.space), self._best_speedup()
        waiting = [t for t in waiting if t.drop <= reach and (alone or self._forecast_speedup(t) > best)]
        finished = (t for t in self.of_stage("full") if t.samples and self.is_finished(t))
        if rounds and any(map(self.bench.feasible, finished)):
            return None
        worth = self._worth(waiting, limit, seconds, best)
        return max(waiting, key=lambda t: worth[t.number], default=None)

    def limit_of(self, share: float) -> float | None:
        return None if self.plan.full_samples is None else self.plan.full_samples * share

    def _trained(self) -> list[Trial]:
        """Return the fully trained structures as they are, without finishers."""
        return [t for t in self.of_stage("full") if t.samples and not self.is_finished(t)]

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

    def choose(self, seconds: float) -> tuple[Trial | None, float]:
        """Return the candidate with the largest speed-up to be expected beyond the best so far, and how large.

        The gain is a share of the best. Candidates are those of short training and those that missed the limit after
        a full one, as they were or with the finishers, not yet gone on with. Where none promises anything, the one
        nearest to the limit is returned.
        """
        explored = self.of_stage("short") if len(self.space) else [self._identity_trial()]
        trained = self._trained()
        continued = self._gone_on_with()
        missed = [t for t in map(self._worse, trained) if not self.bench.feasible(t)]
        waiting = [t for t in explored + missed if t.number not in continued]
        if not waiting:
            return None, 0.0
        if self.job.max_drop is None:
            return max(waiting, key=lambda t: t.speedup / (1 + max(t.drop, 0.0) * 20)), math.inf
        best = self._promised_speedup()
        worth = self._worth(waiting, self.job.max_drop, seconds, best)
        if max(worth.values()) > 0:
            chosen = max(waiting, key=lambda t: worth[t.number])
            return chosen, worth[chosen.number] / best
        return min(waiting, key=lambda t: self._left(t, seconds)), 0.0

    def _worth(self, trials: Sequence[Trial], limit: float, seconds: float, best: float) -> dict[int, float]:
        """Return by how much each trial, by its number, is expected to beat `best` after more training."""
        more = self._samples_in(seconds)
        return {
            t.number: self.recovery(limit, *self._kind(t)).worth(
                self._forecast_speedup(t), best, t.drop, self.fresh_samples(t), more
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

    def explore_more(self, seconds: float) -> bool:
        """Try another candidate whose drop `seconds` of training can just mend; say whether there was one, and time.

        No more than `MORE` come between two full trainings.
        """
        fulls = [t.number for t in self.of_stage("full")]
        tried = self.of_stage("short") + self.failures("short")
        shorts = [t for t in tried if t.number > max(fulls, default=-1)]
        limit = self.job.max_drop
        if limit is None or self.job.trials is not None or not len(self.space) or len(shorts) >= MORE:
            return False
        self.explorer.aim(self.recovery(limit).mendable(self._short_samples(), self._samples_in(seconds)))
        self.say("looking for more candidates")
        return self.explorer.one_more(self._explore_until())

    def grow(self, seconds: float) -> bool:
        """Try a candidate that extends the fastest trained structure that has room; say whether there was one.

        It inherits what was trained, so only the damage of its own cuts, as much as `seconds` of training can mend
        beside what is left of the old, has to be mended. More are tried, up to `GROWN`, while none promises to be
        faster than the best: one that was trained in earnest and missed the limit does not by what it was before.
        """
        limit, base = self.job.max_drop, self._base()
        if limit is None or base is None or self.job.trials is not None:
            return False
        wider = [t for t in self.of_stage("short") if base.decision.items() <= t.decision.items()]
        continued = self._gone_on_with()
        waiting = [t for t in wider if t.number not in continued]
        failed = [t for t in self.failures("short") if base.decision.items() <= t.decision.items()]
        tried = sum(t.number > base.number for t in wider + failed)
        if tried >= GROWN or len(base.decision) == len(self.space) or self._promises(waiting, limit, seconds):
            return False
        left = max(self._left(base, seconds), 0.0) / SPARE
        spare = replace(self.recovery(limit), limit=limit - left)
        damage = spare.mendable(self._short_samples(), self._samples_in(seconds))
        if damage <= 0 or not self.explorer.aim(damage, base.decision):
            return False
        self.say(f"extending trial {base.number}")
        return self.explorer.one_more(self._explore_until())

    def _promises(self, trials: Sequence[Trial], limit: float, seconds: float) -> bool:
        """Say whether one of the trials is expected to beat the best by more than `PROMISING` after more training."""
        best = self._promised_speedup()
        return any(worth > PROMISING * best for worth in self._worth(trials, limit, seconds, best).values())

    def _base(self) -> Trial | None:
        """Return the fastest trained structure that is within the limit as it is and with the finishers.

        One that lost nothing as it is can be cut further, whatever the finishers cost it.
        """
        pairs = [(t, self._worse(t)) for t in self._trained()]
        within = [worse for _, worse in pairs if self.bench.feasible(worse)]
        unharmed = [t for t, worse in pairs if t.drop <= 0 and not self.bench.feasible(worse)]
        return max(within + unharmed, key=self._forecast_speedup, default=None)

    def _explore_until(self) -> float:
        """Return the seconds of the budget after which a candidate could not be trained in earnest any more."""
        until = self.job.budget_seconds - self.reserve_seconds - (1 + bool(self.finishers)) * self.file_seconds
        return until - self.explorer.short_seconds() * LEFT

    def _short_samples(self) -> int:
        """Return what a candidate is trained on while exploring."""
        return max([1, *(t.samples for t in self.of_stage("short") if t.parent is None)])

    def _samples_in(self, seconds: float) -> float:
        return self.limit_of(1 - self.portion) or seconds * self.bench.samples_per_second

    def _best_speedup(self) -> float:
        """Return the largest speed-up that is verified and within the limit."""
        return max([1.0, *(t.speedup for t in self.of_stage("full") if self.bench.feasible(t))])

    def _promised_speedup(self) -> float:
        """Return the largest speed-up within the limit that is verified, or is to be expected of what is unfinished."""
        unfinished = [t for t in self._trained() if self.bench.feasible(t) and not self._finishing_of(t)]
        expected = map(self._forecast_speedup, unfinished if self.finishers else [])
        return max([self._best_speedup(), *expected])

    def _forecast_speedup(self, trial: Trial) -> float:
        """Return the speed-up with the finishers: for a trained candidate that of the explored one it began as."""
        while trial.stage == "full" and trial.parent is not None and trial.parent >= 0:
            trial = self.study.trials[trial.parent]
        return trial.speedup

    def _identity_trial(self) -> Trial:
        return Trial(-1, "short", Decision(), self.bench.reference, 0.0, 1.0)

    def recovery(self, limit: float, earnest: bool = False, narrowed: bool | None = None) -> Recovery:
        """Return the forecast of drops, from what the full trainings of its kind so far did to theirs.

        `earnest` says that training in earnest went before, `narrowed` that groups were narrowed: by default that the
        space has such choices.
        """
        kind = earnest, any(map(_narrows, self.space.choices)) if narrowed is None else narrowed
        pairs: dict[bool, list[Pair]] = {True: [], False: []}
        for later in self._trained():
            if later.parent is not None and later.parent >= 0:
                before = self.study.trials[later.parent]
                figures = before.drop, self.fresh_samples(before), later.drop, self.fresh_samples(later)
                pairs[self._kind(before) == kind].append(figures)
        return Recovery.learnt(limit, pairs[True], pairs[False], BELIEVED[kind])

    @staticmethod
    def _kind(trial: Trial) -> tuple[bool, bool]:
        """Return whether a trial was trained in earnest, and whether groups were narrowed in it."""
        return trial.stage == "full", any(map(_narrows, trial.decision))

    def full(self, candidate: Trial, duration: float) -> None:
        """Train one candidate's structure and verify it as it is."""
        self.say(f"training candidate {candidate.number} (x{candidate.speedup:.2f})")
        result = self.bench.structure(candidate.decision)
        net, parent = self.bench.inherit(candidate.decision, result.net)
        settled = self.fresh_samples(candidate) >= SETTLED * self._samples_in(duration)
        rate = GENTLE[candidate.stage == "full"] if settled else 1.0
        begun = net.copy() if settled else None
        limit = self.plan.limit(duration, self.limit_of(1 - self.portion))
        report = self.bench.train(net, self._recipe(rate), "full", **limit)
        if begun is not None:
            net = self._better(net, averaged((begun, net)))
        samples = self.samples_of(parent) + report.samples
        self.verify(replace(result, net=net), candidate.decision, samples, candidate.number)

    def _better(self, net: Net, mean: Net) -> Net:
        """Return the better of a net that was trained on and the mean of its weights with those it began with."""
        qualities = [self.bench.quick_quality(n) for n in (self.bench.recalibrated(mean), net)]
        return mean if self.job.task.loss_of_quality(*qualities) < 0 else net

    def _recipe(self, rate: float) -> Recipe:
        """Return how to train in earnest, at a share of the recipe's learning rate.

        Without hints: they help the first epoch and no longer the third, and without them the teacher is remembered.
        """
        return replace(self.job.recipe, learning_rate=self.job.recipe.learning_rate * rate, hints=())

    def finish(self, trained: Trial, duration: float) -> None:
        """Apply the finishers to a trained structure, train it on for `duration` at the gentlest rate, verify it.

        Where finishers hardly cost anything it is verified before, and trained on only if it misses the limit.
        """
        self.say(f"finishing trial {trained.number} in int8")
        decision = trained.decision.merge(self.finisher_decision())
        finished = self.bench.finish(self.bench.rebuild(trained), decision)
        both = replace(
            finished,
            changed={**trained.changed, **finished.changed},
            skipped={**trained.skipped, **finished.skipped},
        )
        if not self.portion:
            found = self.verify(both, decision, trained.samples, trained.number)
            duration = min(duration, self._left_after(1))
            if self.bench.feasible(found) or duration < LEAST_SECONDS:
                return
        limit = self.plan.limit(duration, self.limit_of(self.portion))
        report = self.bench.train(both.net, self._recipe(GENTLE[True]), "finish", **limit)
        self.verify(both, decision, trained.samples + report.samples, trained.number)


def _narrows(choice: str) -> bool:
    return choice.rpartition(":")[2] in LASTING
