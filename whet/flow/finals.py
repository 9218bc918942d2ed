"""`Finals`: the few candidates that may be on the front are trained for real, finished and verified."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from whet.core.net import Net
from whet.core.passes import Result
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.explore import Explore
from whet.flow.forecast import NOISE, SPARE
from whet.flow.inheritance import inherit
from whet.flow.obvious import in_words
from whet.flow.prospects import PROMISING, Prospects
from whet.flow.stage import Plan
from whet.flow.workbench import Workbench
from whet.train.average import averaged
from whet.train.recipe import Recipe

MORE, MOST = 4, 40
"""How many more candidates are tried between two full trainings, and where none that waits would be faster."""
GROWN = 3
"""How many candidates that extend a trained structure are tried at most, until one promises something."""
HOPELESS = 1.5
"""The drop, in shares of the limit, above which a trained structure is not finished even at the end."""
UNSPENT = 0.1
"""The share of the budget that may be left over without a word."""
TOLD = 0.5
"""The standard deviation of a drop that an error tells, as a share of it."""
LIKELY = 0.4
"""The chance to be within the limit from which a candidate that was not trained is verified."""
FINDING = 0.15
"""The share of the budget that must be left to train in for a recipe to be looked for."""
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


class Finals(Prospects):
    """Rounds of full training; each takes the candidate that promises the most beyond the best so far."""

    def __init__(self, bench: Workbench, plan: Plan, explorer: Explore) -> None:
        super().__init__(bench, plan)
        self.explorer = explorer

    def run(self) -> None:
        """Train the most promising structures for real; verify each as it is, and the best with the finishers.

        What is left of the budget is shared by the rounds to come. The first structure within the limit is finished at
        once, so that there is something to deliver; of the later ones only the fastest, at the end.
        """
        self.verify_untrained()
        if self.untrained:
            self.search_on()
            return
        if not self.timed or self._left_after(1) > FINDING * self.job.budget_seconds:
            self.find_recipe()
        planned = self.plan.rounds(self.explorer.finals_seconds(), self._epochs_left()) if len(self.space) else 1
        if self.timed and self.job.budget_seconds > (self.study.recall("delivered_budget") or math.inf):
            planned = max(planned, len(self._earnest()) + 1)  # it ended with fewer seconds, and has more now
        while not self._exhausted():
            rounds = self._most_promising(self._rounds(planned - len(self._earnest())))
            share = self._share(rounds)
            due = self._due(rounds, share * self.settling if self.settling else 0.0)
            if due is not None and self._left_after(1) >= 0:
                with self.bench.attempt("full", due.decision.merge(self.finisher_decision()), due.number):
                    self.finish(due, share * (self.settling or self.plan.quantized_share))
                continue
            if not rounds and self._goes_on():
                planned = len(self._earnest()) + 1
                continue
            if share < LEAST_SECONDS or not rounds:
                self._say_why(rounds > 0 and share < LEAST_SECONDS)
                break
            if self.grow(share):
                continue
            candidate, worth = self.choose(share, self._told())
            if worth < PROMISING and self.explore_more(share, MORE if candidate is not None else MOST):
                continue
            if candidate is None:
                planned = len(self._earnest())
                continue
            with self.bench.attempt("full", candidate.decision, candidate.number):
                self.full(candidate, share)
        if self.timed and self._exhausted() and self.run_.budget.left_seconds > UNSPENT * self.job.budget_seconds:
            self.bench.note("the search ended early: only finishers are searched, and met the limit without training")

    def _goes_on(self) -> bool:
        """Say whether enough is left after the rounds that were planned, and a candidate is worth another."""
        left = self._left_after(1 + bool(self.finishers))
        if not self.timed or not len(self.space) or left < UNSPENT * self.job.budget_seconds:
            return False
        if len(self._earnest()) >= 2 * self.plan.most_finals:
            return False
        return self.choose(left, self._told())[1] >= PROMISING

    def _told(self) -> list[Trial]:
        """Return candidates that were not trained or timed, and whose drop the finals are expected to mend."""
        found, limit = self.explorer.told() + self.explorer.missed(), self.job.max_drop
        return found if limit is None else [t for t in found if t.drop <= self.explorer.mendable(limit)]

    def verify_untrained(self) -> None:
        """Verify repaired candidates that are within the limit without training, the fastest first, until one is.

        Without training data that is all there is. Where finishers pay, the finished form is verified and no other.
        """
        pays = bool(self.finishers) and self.bench.finishing_pays
        finishing = self.finisher_decision() if pays else Decision()
        while self._left_after(1) >= 0 and (chosen := self._fastest_untrained()) is not None:
            self.say(f"verifying candidate {chosen.number} (x{chosen.gain:.2f})")
            decision = chosen.decision.merge(finishing)
            with self.bench.attempt("full", decision, chosen.number):
                result = self.bench.structure(chosen.decision)
                if chosen.stage == "predicted":
                    found = self.explorer.at_once(chosen.decision, result, chosen.gain)
                else:
                    whole = self.finished(result, finishing) if pays else result
                    found = self.verify(whole, decision, 0, chosen.number)
                if self.bench.feasible(found) and self.job.max_drop is not None:
                    return

    @property
    def untrained(self) -> bool:
        """Whether nothing is trained: there are no data for it, or it would be too slow."""
        return self.job.task.train is None or self.explorer.slow

    def search_on(self) -> None:
        """Look for more candidates that need no training, and verify what is faster, as long as there is time."""
        until = self.job.budget_seconds - self.reserve_seconds - self.file_seconds
        while self.timed and self.job.trials is None and not self.hopeless() and self.explorer.one_more(until):
            self.verify_untrained()

    def _fastest_untrained(self) -> Trial | None:
        """Return the untrained candidate that promises most beyond the best: its gain times the chance to be within.

        Its score is from a sample, and of the form before the finishers. Without a limit it is the one that loses least
        for its speed.
        """
        limit = self.job.max_drop
        tried = [t.parent for t in self.of_stage("full") + self.failures("full")]
        told = self.explorer.told()
        waiting = [t for t in self.of_stage("short") if not t.samples and t.number not in tried] + told
        if limit is None:
            few = len(tried) < self.plan.finals and self.untrained
            return max(waiting, key=self.merit, default=None) if few else None
        best = (1 + PROMISING) * self.best_gain()
        chances = {t.number: self._chance(t, limit) for t in waiting if t.gain > best}
        within = [t for t in waiting if chances.get(t.number, 0.0) > LIKELY]
        return max(within, key=lambda t: chances[t.number] * (t.gain - best), default=None)

    @staticmethod
    def _chance(trial: Trial, limit: float) -> float:
        """Return the chance that a repaired candidate is within the limit: what errors tell of is uncertain."""
        told = TOLD * trial.drop if trial.stage == "predicted" else 0.0
        return NormalDist(0.0, max(math.hypot(NOISE * limit, told), 1e-9)).cdf(limit - trial.drop)

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

    def _most_promising(self, most: int) -> int:
        """Return how many of at most so many rounds are expected to end with the largest gain: fewer are longer.

        Some networks learn in seconds what others need minutes for: a perceptron of a quarter of the widths lost 3.0 %
        after 18 epochs, 1.8 % after 35, at a limit of 1 %.
        """
        if self.job.max_drop is None or not self.timed or most < 2 or not self.bench.samples_per_second:
            return most
        told = self._told()
        ends = {n: self.best_of_rounds(n, self._share(n), told) for n in range(1, most + 1)}
        return max(n for n, gain in ends.items() if gain >= (1 - PROMISING) * max(ends.values()))

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
            return max(waiting, key=self._forecast_gain, default=None)
        reach = limit if rounds else HOPELESS * limit
        # Where only finishers are searched, the noise in the original's own speed must not keep them from being tried.
        alone, best = not len(self.space), self.best_gain()
        waiting = [t for t in waiting if t.drop <= reach and (alone or self._forecast_gain(t) > best)]
        finished = (t for t in self.of_stage("full") if self.is_structural(t) and self.is_finished(t))
        if rounds and any(map(self.bench.feasible, finished)):
            return None
        worth = self._worth(waiting, limit, seconds, best)
        return max(waiting, key=lambda t: worth[t.number], default=None)

    def explore_more(self, seconds: float, most: int = MORE) -> bool:
        """Try another candidate whose drop `seconds` of training can just mend; say whether there was one, and time.

        No more than `most` come between two full trainings.
        """
        fulls = [t.number for t in self.of_stage("full")]
        tried = self.of_stage("short") + self.failures("short")
        shorts = [t for t in tried if t.number > max(fulls, default=-1)]
        limit = self.job.max_drop
        if limit is None or self.job.trials is not None or not len(self.space) or len(shorts) >= most:
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

    def _explore_until(self) -> float:
        """Return the seconds of the budget after which a candidate could not be trained in earnest any more."""
        until = self.job.budget_seconds - self.reserve_seconds - (1 + bool(self.finishers)) * self.file_seconds
        return until - (self.explorer.short_seconds() or 0.0) * LEFT

    def full(self, candidate: Trial, duration: float) -> None:
        """Train one candidate's structure and verify it as it is."""
        self.say(f"training candidate {candidate.number} (x{candidate.gain:.2f})")
        result = self.bench.structure(candidate.decision)
        net, parent = inherit(self.bench, candidate.decision, result.net)
        settled = self.fresh_samples(candidate) >= SETTLED * self._samples_in(duration)
        rate = GENTLE[self._kind(candidate)[0]] if settled else 1.0
        begun = net.copy() if settled else None
        limit = self.plan.limit(duration, self.limit_of(1 - self.portion))
        trained = self.bench.train(net, self._recipe(rate), "full", settled, **limit).samples
        if begun is not None:
            net = self._better(net, averaged((begun, net)))
        samples = self.samples_of(parent) + trained
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
        self.say(f"finishing trial {trained.number}: {in_words(self.finisher_decision())}")
        decision = trained.decision.merge(self.finisher_decision())
        whole = Result(self.bench.rebuild(trained), trained.changed, trained.skipped)
        both = self.finished(whole, decision)
        if not self.portion:
            found = self.verify(both, decision, trained.samples, trained.number)
            duration = min(duration, self._left_after(1))
            if self.bench.feasible(found) or duration < LEAST_SECONDS:
                return
        limit = self.plan.limit(duration, self.limit_of(self.portion))
        report = self.bench.train(both.net, self._recipe(GENTLE[True]), "finish", **limit)
        self.verify(both, decision, trained.samples + report.samples, trained.number)
