"""`Rounds`: the few candidates that may be on the front are trained for real, finished and verified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from whet.core.study import Trial
from whet.schedule.actions import Actions, FindRecipe, Finish, Several, Train, Try
from whet.schedule.exploring import Exploring
from whet.schedule.growth import MORE, MOST, Growth
from whet.schedule.history import SCORED_NOTE
from whet.schedule.hopes import missed, told
from whet.schedule.obvious import in_words
from whet.schedule.prospects import PROMISING, Prospects, beside
from whet.schedule.recovery import SPREAD
from whet.schedule.shares import LEAST_SECONDS, Shares
from whet.schedule.situation import Situation
from whet.schedule.untrained import Untrained

HOPELESS = 1.5
"""The drop, in shares of the limit, above which a trained structure is not finished even at the end."""
UNSPENT = 0.1
"""The share of the budget that may be left over without a word."""
FINDING = 0.15
"""The share of the budget that must be left to train in for a recipe to be looked for."""

SETTLED = 0.5
"""From which share on of the samples to come a candidate's own count as settled: it is trained on at a gentle rate.

Of ResNet-20 without three blocks, cut from a supernet after 260 thousand images, 90 thousand more made a drop of 1.42
points 1.82 at the full rate, 1.26 at 0.3 of it, 1.12 at 0.1, and 1.26 at 0.03. Of ResNet-44 without eleven, 150
thousand made 1.30 points 1.24, 0.86 and 1.16 at 1, 0.3 and 0.1. After 13 thousand alone another's 1.78 became 1.14 at
the full rate and 1.38 at 0.3 of it.
"""
GENTLE = {False: 0.3, True: 0.1}
"""The gentle learning rates, in shares of the recipe's, by whether training in earnest went before."""


class Rounds:
    """Rounds of full training; each takes the candidate that promises the most beyond the best so far."""

    def __init__(self, situation: Situation, explorer: Exploring) -> None:
        self.situation, self.explorer = situation, explorer
        self.prospects = Prospects(situation)
        self.shares = Shares(situation, self.prospects.portion)
        self.growth = Growth(situation, explorer, self.prospects)
        self.untrained = Untrained(situation, explorer)
        self.planned = 1

    def run(self) -> Actions[None]:
        """Train the most promising structures for real; verify each as it is, and the best with the finishers.

        What is left of the budget is shared by the rounds to come. The first structure within the limit is finished at
        once, so that there is something to deliver; of the later ones only the fastest, at the end.
        """
        s = self.situation
        yield from self.untrained.verify()
        if self.untrained.all_there_is:
            self.shares = replace(self.shares, careful=True)
            yield from self.untrained.search_on(self._worth_training)
            if not self._worth_training():
                return
        else:
            if not s.goal.timed or s.clock.left_after(1) > FINDING * s.goal.budget_seconds:
                yield FindRecipe()
            self.planned = self._first_plan()
        while not self._exhausted() and (yield from self._one_step()):
            pass
        if self.untrained.all_there_is:
            yield from self.untrained.search_on()
        left = s.clock.budget.left_seconds
        if s.goal.timed and self._exhausted() and left > UNSPENT * s.goal.budget_seconds:
            s.note("the search ended early: only finishers are searched, and met the limit without training")

    def _worth_training(self) -> bool:
        """Say whether a candidate is worth training in all that is left, where training is slow."""
        s, seconds = self.situation, self.shares.each(1)
        if not s.facts.trains or not s.goal.timed or s.goal.max_drop is None or seconds < LEAST_SECONDS:
            return False
        return self.prospects.choose(seconds, self.told())[1] >= PROMISING

    def _first_plan(self) -> int:
        """Return how many structures are to be trained in earnest in all."""
        s, trained = self.situation, len(self.prospects.trained.in_earnest())
        seconds, epochs = self.explorer.mending.rounds_seconds, self.shares.epochs_left()
        planned = s.plan.rounds(seconds, epochs) if len(s.space) else 1
        planned *= self.shares.at_once if s.goal.timed else 1
        if s.goal.timed and s.goal.budget_seconds > (s.study.recall("delivered_budget") or math.inf):
            planned = max(planned, trained + 1)  # it ended with fewer seconds, and has more now
        return planned

    def _one_step(self) -> Actions[bool]:
        """Do what comes next; say whether something may come after it."""
        s, trained = self.situation, len(self.prospects.trained.in_earnest())
        rounds = self.most_promising(self.shares.rounds(math.ceil((self.planned - trained) / self.shares.at_once)))
        share, settling = self.shares.each(rounds), self.prospects.portion.settling
        due = self.due(rounds, share * settling if settling else 0.0)
        if due is not None and s.clock.left_after(1) >= 0:
            yield from self.finish(due, share * (settling or s.plan.quantized_share))
            return True
        if not rounds and self.goes_on():
            self.planned = trained + self.shares.at_once
            return True
        if share < LEAST_SECONDS or not rounds:
            self._note_why(rounds > 0 and share < LEAST_SECONDS)
            return False
        if (yield from self.growth.grow(share)):
            return True
        candidate, worth = self.prospects.choose(share, self.told())
        more = MORE if candidate is not None else MOST
        if worth < PROMISING and (yield from self.growth.explore_more(share, more)):
            return True
        if candidate is None:
            self.planned = len(self.prospects.trained.in_earnest())
        else:
            yield from self.train(beside(self.prospects, candidate, share, self.told(), self.shares.at_once), share)
        return True

    def _is_told(self, candidate: Trial) -> bool:
        """Say whether a candidate was neither timed nor scored, and there is time to do that before it is trained.

        A decoder's cut that was forecast at x7.7 and 6 % was x2.2 and 19 %.
        """
        s = self.situation
        told = candidate.stage in ("probe", "predicted") and candidate.note != SCORED_NOTE
        return told and s.goal.timed and s.clock.left_after(1) > 2 * s.clock.timing_seconds(2.0)

    def most_promising(self, most: int) -> int:
        """Return how many of at most so many rounds are expected to end with the largest gain: fewer are longer.

        Some networks learn in seconds what others need minutes for: a perceptron of a quarter of the widths lost 3.0 %
        after 18 epochs, 1.8 % after 35, at a limit of 1 %. The first training never has all the time for itself: one of
        that perceptron's, of 57 epochs, was undone as it did harm, and nothing was left to try.
        """
        goal = self.situation.goal
        if goal.max_drop is None or not goal.timed or most < 2 or not self.situation.facts.samples_per_second():
            return most
        told = self.told()
        least = 1 if self.prospects.trained.in_earnest() else 2
        each, shares, best = self.shares.at_once, self.shares, self.prospects.best_of_rounds
        ends = {n: best(n * each, shares.each(n), told) for n in range(least, most + 1)}
        return max(n for n, gain in ends.items() if gain >= (1 - PROMISING) * max(ends.values()))

    def goes_on(self) -> bool:
        """Say whether enough is left after the rounds that were planned, and a candidate is worth another."""
        s = self.situation
        left = s.clock.left_after(1 + s.finishing.worthwhile)
        if not s.goal.timed or not len(s.space) or left < UNSPENT * s.goal.budget_seconds:
            return False
        if len(self.prospects.trained.in_earnest()) >= 2 * s.plan.most_rounds * self.shares.at_once:
            return False
        return self.prospects.choose(left, self.told())[1] >= PROMISING

    def told(self) -> list[Trial]:
        """Return candidates that were not trained or timed, and whose drop a training in all that is left may mend."""
        s = self.situation
        found, limit = told(s) + missed(s), s.goal.max_drop
        if limit is None:
            return found
        mendable = self.explorer.mending.mendable(limit)
        if s.goal.timed:
            more = self.prospects.portion.samples_in(max(s.clock.left_after(1), 0.0))
            hoped = self.prospects.recovery(limit).mendable(self.prospects.short_samples(), more) / (1 - SPREAD)
            mendable = max(mendable, hoped)
        return [t for t in found if t.drop <= mendable]

    def _note_why(self, short: bool) -> None:
        """Keep for the conclusion why no more is trained, where nothing was or a part of the budget is left over.

        `short` says that time is wanting, and not candidates.
        """
        s = self.situation
        budget, left = s.goal.budget_seconds, s.clock.left_seconds
        if not s.goal.timed or not len(s.space):
            return
        if short and not self.prospects.trained.in_earnest():
            s.note(
                f"the budget of {budget:.0f} s is too short to train anything in earnest: here that needs about "
                f"{math.ceil(max(s.clock.needed_seconds(), 1.1 * budget) / 10) * 10} s"
            )
        elif left > UNSPENT * budget:
            wanting = "is less than another training, its file and its scoring take"
            why = wanting if short else "is not used, as no candidate promises to be faster"
            s.note(f"the search ended early: what is left of the budget, {left:.0f} s, {why}")

    def _exhausted(self) -> bool:
        """Say whether nothing in the space can be faster: only the finishers are searched, and met the limit untrained.

        The budget is what a search may take, not what it must.
        """
        s = self.situation
        if len(s.space) or s.goal.max_drop is None:
            return False
        return any(s.history.is_finished(t) and s.goal.feasible(t) for t in s.history.of_stage("full"))

    def due(self, rounds: int, seconds: float) -> Trial | None:
        """Return the trained structure that is to be finished now, in `seconds`, if there is one."""
        s, trained, limit = self.situation, self.prospects.trained, self.situation.goal.max_drop
        if not s.finishing.worthwhile:
            return None
        failed = {t.parent for t in s.history.failures("full") if s.history.is_finished(t)}
        waiting = [t for t in trained.structures() if not trained.finishing_of(t) and t.number not in failed]
        if limit is None:
            return max(waiting, key=trained.forecast_gain, default=None)
        reach = limit if rounds else HOPELESS * limit
        # Where only finishers are searched, the noise in the original's own speed must not keep them from being tried.
        alone, best = not len(s.space), s.history.best_gain()
        waiting = [t for t in waiting if t.drop <= reach and (alone or trained.forecast_gain(t) > best)]
        full = s.history.of_stage("full")
        finished = (t for t in full if s.history.is_structural(t) and s.history.is_finished(t))
        if rounds and any(map(s.goal.feasible, finished)):
            return None
        worth = self.prospects.worth(waiting, limit, seconds, best)
        return max(waiting, key=lambda t: worth[t.number], default=None)

    def train(self, chosen: Sequence[Trial], seconds: float) -> Actions[None]:
        """Train the structure of each candidate and verify it as it is; look at one first that never was."""
        s, trainings = self.situation, list[Train]()
        for candidate in filter(self._is_told, chosen):
            s.say(f"looking at {in_words(candidate.decision)}")
            yield Try(candidate.decision, s.finishing.of_candidates, counted=False)
            return
        s.say(", ".join(f"training candidate {c.number} (x{c.gain:.2f})" for c in chosen))
        portion = self.prospects.portion
        for candidate in chosen:
            settled = s.history.fresh_samples(candidate) >= SETTLED * portion.samples_in(seconds)
            rate = GENTLE[self.prospects.kind(candidate)[0]] if settled else 1.0
            trainings.append(Train(candidate, seconds, portion.samples(1 - portion.after), rate, settled))
        yield trainings[0] if len(trainings) == 1 else Several(tuple(trainings))

    def finish(self, trained: Trial, seconds: float) -> Actions[None]:
        """Apply the finishers to a trained structure, train it on for so long at the gentlest rate, verify it.

        Where finishers hardly cost anything it is verified before, and trained on only if it misses the limit.
        """
        s, after, finishing = self.situation, self.prospects.portion.after, self.situation.finishing.decision
        s.say(f"finishing trial {trained.number}: {in_words(finishing)}")
        if not after:
            found = yield Finish(trained, finishing)
            seconds = min(seconds, s.clock.left_after(1))
            if found is None or s.goal.feasible(found) or seconds < LEAST_SECONDS:
                return
        samples = self.prospects.portion.samples(self.prospects.portion.after)
        yield Finish(trained, finishing, seconds, samples, GENTLE[True])
