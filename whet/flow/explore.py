"""`Explore`: what needs no training, one choice at a time, then many candidates with a little training each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from statistics import median

from whet.core.passes import Chain, Result
from whet.core.space import Decision
from whet.core.strategy import Observation, Strategy
from whet.core.study import Trial
from whet.decisions.planner import Counting, Planner
from whet.flow.candidates import Candidates
from whet.flow.forecast import NOISE, POWER
from whet.flow.obvious import Hope, in_words, obvious, untried
from whet.flow.probing import DIGITS
from whet.flow.stage import SAVE_SECONDS, Plan
from whet.flow.workbench import Workbench
from whet.search import strategies
from whet.search.predictors.operations import Operations

REACH = (1.5, 6.0)
"""The damage after a short training, in shares of the limit, that first proposals may do: about what can be mended."""
MENDED = (0.5, 1.5)
"""The damage of first proposals in shares of what the finals can mend, where it is known how fast they train."""
WITHIN = (0.5, 1.1)
"""The damage of proposals, in shares of the limit, where training is too slow to mend any."""
EXPLORED_SHARE = 0.75
"""The share of the budget that is explored for where training is slow."""
VERIFIED = 2
"""How many files' time is kept for candidates that are verified as they were repaired; one where most are at once."""
AIM = (0.6, 1.2)
"""The damage that a strategy may do when it is aimed, in shares of the drop that it is aimed at."""

EXPLORED_SECONDS = 15.0
"""How long candidates are tried at least, however long the probes took, where there is time."""

OBVIOUS_SHARE, OBVIOUS_SECONDS, OBVIOUS_MOST = 0.35, 8.0, 0.6
"""The share of the budget that is left in which obvious candidates are tried; of a short one so long, up to a share."""
HOPING = 0.5
"""The share of that time in which their errors are looked at, before any is timed."""
DEAR, WELL_WITHIN = 0.05, 0.5
"""A file is dear that takes such a share of the budget; well within the limit is a drop of such a share of it."""
FASTER = 1.02
"""The speed-up below which a way of finishing is taken not to pay."""
FORESEEN = 1.2
"""How many times the damage aimed at a candidate's drop may be, as told from its error, for it to be looked at."""
TRAINED_SHARE = 0.25
"""The share of the budget that is rather trained than spent on probes."""
BEYOND = (5.0, 1.0, 20.0)
"""Nothing that cuts more than a candidate of such a drop is among the obvious: in shares of the limit at least, of what
the finals can mend, and of the limit at most."""


class Explore(Candidates):
    """The stages before the finals: finishers alone, what anyone would try, probes, and short trainings."""

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        super().__init__(bench, plan)
        self.strategy = self.new_strategy(bench.job.seed)

    def new_strategy(self, seed: int, scale: float = 1.0) -> Strategy:
        """Return the job's strategy; `scale` multiplies the damage that its proposals may do, if it bounds that."""
        limit = self.job.max_drop
        budgets = (limit * REACH[0] * scale, limit * REACH[1] * scale) if limit else (0.003 * scale, 0.2 * scale)
        strategy = strategies.get(self.job.strategy, self.space, seed=seed)
        if isinstance(strategy, Planner):
            strategy.budgets = budgets
        if isinstance(strategy, Counting):
            strategy.operations = lambda decision: self.operations(decision)
        return strategy

    @cached_property
    def operations(self) -> Operations:
        """How many operations a decision leaves; made when a strategy asks, for it takes a network a value."""
        return Operations(self.job.net, Chain(self.job.passes), self.space, self.run_)

    def run(self) -> None:
        self.finish_identity()
        if len(self.space):
            self.try_obvious()
            if not self.pressed():
                self.probe()
            self.inform(self.strategy)
            if not self.slow:
                self.find_recipe()
            self.explore()

    def finish_identity(self) -> None:
        """Try the finishers on the untouched network: the cheapest candidates, often good ones.

        Each way of a finisher is tried until one costs next to nothing, or gains nothing. Where a file is dear, a way
        that is well within the limit is enough.
        """
        dear = self.file_seconds > DEAR * self.job.budget_seconds
        enough = math.inf if self.job.max_drop is None else (WELL_WITHIN if dear else NOISE) * self.job.max_drop
        for ways in self.ways():
            for way in ways:
                tried = [t for t in self.untouched() if t.decision in ways]
                known = any(t.decision == way or t.drop <= enough or t.gain < FASTER for t in tried)
                if known or any(t.decision == way for t in self.failures("full")):
                    continue
                if self.timed and self.run_.budget.left_seconds - self.reserve_seconds < self.file_seconds:
                    self._say_no_time(way)
                    return
                self.say(f"{in_words(way)} without training")
                with self.bench.attempt("full", way):
                    self.verify(self.bench.finish(self.job.net, way), way, 0, None)

    def _say_no_time(self, way: Decision) -> None:
        """Keep for the conclusion that there was no time for any way of finishing."""
        if not self.untouched():
            self.bench.note(
                f"the budget of {self.job.budget_seconds:.0f} s is too short to try {in_words(way)}: what comes "
                f"before took {self.run_.budget.spent_seconds:.0f} s, a file takes {self.file_seconds:.0f} s, and the "
                f"delivery {self.reserve_seconds:.0f} s"
            )

    # -- stage 1: what anyone would try ------------------------------------------------------------------------------

    def try_obvious(self) -> None:
        """Repair the candidates that anyone would try; time and score those that their outputs' error makes hope for.

        So no search ends behind them, and none goes step by step where an error tells the end at once. None is trained
        here; the finals train what promises most.
        """
        if not self.bench.repairs:
            return
        budget = self.run_.budget
        left = budget.left_seconds - self.reserve_seconds
        until = budget.spent_seconds + max(OBVIOUS_SHARE * left, min(OBVIOUS_SECONDS, OBVIOUS_MOST * left))
        hopes = self._known_hopes(budget.spent_seconds + HOPING * (until - budget.spent_seconds))
        while not self.hopeless() and budget.spent_seconds + self.bench.cost("race", 1.0) <= until:
            decision = self._most_hopeful(hopes)
            if decision is None:
                break
            self.say(f"trying {in_words(decision)}")
            with self.bench.clock("obvious"), self.bench.attempt("short", decision):
                if self.slow and self.job.max_drop is not None:
                    self.at_once(decision, self.bench.structure(decision))
                else:
                    self.short(decision, None)
        realised = self._realised(hopes)
        for decision, hope in self._waiting(hopes).items():
            quality = self.quality_told(self.rate(), hope.error)
            self.predicted(decision, hope.skipped, quality, self.base_gain * hope.gain**realised)

    def _known_hopes(self, until: float) -> dict[Decision, Hope]:
        """Return the hopes of the study; a resumed one goes on with those that it had."""
        known = self.study.recall("hopes")
        if known is not None:
            return {Decision.from_json(key): Hope(**hope) for key, hope in known.items()}
        found = self._hopes(until)
        self.study.remember("hopes", {d.to_json(): asdict(hope) for d, hope in found.items()})
        return found

    def _realised(self, hopes: Mapping[Decision, Hope]) -> float:
        """Return the power of a gain by operations that was measured, by the candidates that were timed."""
        tried = [(t.gain / self.base_gain, hopes.get(self.structural(t.decision))) for t in self.explored()]
        powers = [math.log(max(g, 1e-6)) / math.log(h.gain) for g, h in tried if h is not None and h.gain > FASTER]
        return min(max(median(powers), 0.0), 1.0) if powers else 1.0

    def pressed(self) -> bool:
        """Say whether probes would leave too little time to train the candidates that there are."""
        if not (self.timed and self.explored()) or self.slow:
            return False
        if len(self.space) == 1:
            return True
        after = self.run_.budget.left_seconds - self.plan.probe_share * self.job.budget_seconds
        return after - self.reserve_seconds - self.file_seconds < TRAINED_SHARE * self.job.budget_seconds

    def _waiting(self, hopes: Mapping[Decision, Hope]) -> dict[Decision, Hope]:
        """Return the hopes that were not tried yet."""
        seen = self.explored() + self.of_stage("predicted") + self.failures("short")
        tried = {self.structural(t.decision) for t in seen}
        return {d: hope for d, hope in hopes.items() if d not in tried}

    def _hopes(self, until: float) -> dict[Decision, Hope]:
        """Return what the error of the outputs tells of the obvious candidates, as far as there is time for.

        The one in the middle of what is left comes next: what extends one whose drop is beyond what the finals can mend
        is left out, so a short time tells about where they end. They are returned the mildest first.
        """
        most = math.inf if self.job.trials is None else self.job.trials / 2
        wanted = obvious(self.job.passes, self.job.net, self.job.target)
        hopes: dict[Decision, Hope] = {}
        while not self.hopeless():
            seen = self.explored() + self.of_stage("predicted")
            tried = [self.structural(t.decision) for t in seen + self.failures("short")]
            broken = [self.structural(t.decision) for t in seen if t.drop > self.beyond()]
            broken += [d for d, hope in hopes.items() if self.drop_told(hope.error) > self.beyond()]
            left = untried(self.space, wanted, [*tried, *hopes], broken)
            step = self.bench.cost("repair", 1.0) * bool(hopes)
            if not left or len(tried) + len(hopes) >= most or self.run_.budget.spent_seconds + step > until:
                break
            middle = left[len(left) // 2]
            with self.bench.attempt("short", middle):
                result = self.bench.structure(middle)
                error = round(self.bench.output_error(result.net), DIGITS)
                hopes[middle] = Hope(error, skipped=result.skipped, **self.bench.forecast(result.net))
        return {decision: hopes[decision] for decision in wanted if decision in hopes}

    def _most_hopeful(self, hopes: Mapping[Decision, Hope]) -> Decision | None:
        """Return the fastest of the candidates that are told to be within the limit, or within what the finals mend.

        None where the fastest of either were scored already; without a limit the mildest that was not.
        """
        limit, waiting = self.job.max_drop, self._waiting(hopes)
        if limit is None:
            return next(iter(waiting), None)
        known = ((t.drop, hopes.get(self.structural(t.decision))) for t in self.explored())
        scored = [(drop, hope.gain) for drop, hope in known if hope is not None]
        for reach in (limit, limit if self.slow else self.mendable(limit)):
            best = max((gain for drop, gain in scored if drop <= reach), default=1.0)
            faster = [d for d, hope in waiting.items() if self.drop_told(hope.error) <= reach and hope.gain > best]
            if faster:
                return max(faster, key=lambda d: hopes[d].gain)
        return None

    def beyond(self) -> float:
        """Return the drop of a candidate beyond which what cuts more is not among the obvious."""
        if not self.job.max_drop:
            return math.inf
        least, mended, most = BEYOND
        reach = mended * self.mendable(self.job.max_drop)
        return min(max(least * self.job.max_drop, reach), most * self.job.max_drop)

    def inform(self, strategy: Strategy) -> None:
        """Tell a strategy that can use it what the probes found."""
        if isinstance(strategy, Planner):
            self.teach(strategy, self.base_gain)
            limit = self.job.max_drop
            if limit and self.head_start and (mended := self.mendable(limit)) < math.inf:
                strategy.budgets = (mended * MENDED[0], mended * MENDED[1])
                if self.slow:
                    strategy.aim((limit * WITHIN[0], limit * WITHIN[1]))

    # -- stage 2: many candidates, a little training each --------------------------------------------------------

    def explore(self) -> None:
        """Give each proposed candidate a short fine-tuning; most are not trained further."""
        observed = self.explored()
        for trial in observed + [t for t in self.of_stage("predicted") if len(t.decision) > 1]:
            self._tell(trial)
        failed = self.failures("short")
        self.strategy.tell(Observation(self.structural(t.decision)) for t in failed)
        least = min(EXPLORED_SECONDS, self.plan.explore_until * self.run_.budget.left_seconds)
        until = max(self.explore_until(), self.run_.budget.spent_seconds + least)
        kept = (1 if self.slow else VERIFIED) * self.file_seconds if self.bench.repairs else 0.0
        until = min(until, self.job.budget_seconds - self.reserve_seconds - kept)
        count = len(observed) + len(failed)
        while count < self.most_candidates() and not self.hopeless() and self.one_more(until):
            count += 1

    def most_candidates(self) -> float:
        """Return how many candidates are tried at most."""
        return math.inf if self.job.trials is None else self.job.trials

    def one_more(self, until: float) -> bool:
        """Try the strategy's next proposal if it will be done `until` then; say whether there was one."""
        short = self.short_seconds()
        step = (short or 0.0) + self.bench.cost("save", SAVE_SECONDS) + self.bench.cost("race", 2.0)
        if self.slow:
            step = self.bench.cost("repaired", self.file_seconds)
        asked = self.strategy.ask(1) if self.run_.budget.spent_seconds + step <= until else []
        if asked and not len(asked[0]):  # the untouched network has been tried already
            asked = self.strategy.ask(1)
        if asked:
            self._try(asked[0], short)
        return bool(asked)

    def _try(self, decision: Decision, seconds: float | None) -> None:
        """Train a candidate briefly and tell the strategy what came of it, also where it failed."""
        with self.bench.attempt("short", decision), self.bench.clock("repaired"):
            self._tell(self._looked_at(decision, seconds))
            return
        self.strategy.tell([Observation(self.structural(decision))])

    def _looked_at(self, decision: Decision, seconds: float | None) -> Trial:
        """Return what is found of a candidate, which is built once."""
        told, strategy = self.told_by_errors(), self.strategy
        if told is None or not isinstance(strategy, Planner) or strategy.base or self.job.max_drop is None:
            return self.short(decision, seconds)
        result = self.bench.structure(decision)
        found = self._foreseen(decision, result, told, strategy)
        if found is None and self.slow:
            return self.at_once(decision, result, self._forecast(strategy, decision))
        return found or self.short(decision, seconds, result)

    def _forecast(self, strategy: Planner, decision: Decision) -> float:
        return self.base_gain * math.exp(-strategy.log_latency(decision))

    def _foreseen(self, decision: Decision, result: Result, told: float, strategy: Planner) -> Trial | None:
        """Return what is told of a candidate from its outputs' error alone, if that is enough to leave it at that.

        It is where the drop so told is beyond what is aimed at, or the speed-up forecast not beyond the best so far.
        What extends a trained structure inherits its weights, of which the error says nothing.
        """
        quality = self.quality_told(told, self.bench.output_error(result.net))
        drop = self.job.task.loss_of_quality(quality, self.reference())
        gain = self._forecast(strategy, decision)
        if drop <= FORESEEN * strategy.budgets[1] and gain > self.best_gain():
            return None
        return self.predicted(decision, result.skipped, quality, gain)

    def aim(self, drop: float, base: Decision | None = None) -> bool:
        """Have the strategy propose candidates whose drop is about `drop`, or which do such damage beyond `base`.

        Says whether the strategy can.
        """
        if not isinstance(self.strategy, Planner):
            return False
        self.strategy.aim((drop * AIM[0], drop * AIM[1]), base)
        return True

    def explore_until(self) -> float:
        """Return the seconds of the budget after which no candidate is begun."""
        return (EXPLORED_SHARE if self.slow else self.plan.explore_until) * self.job.budget_seconds

    def short_seconds(self) -> float | None:
        """Return how long a candidate is trained here, None for not at all.

        It is 0 where the budget is in epochs: samples limit it instead.
        """
        if self.job.task.train is None or self.slow:
            return None
        short = max(self.plan.short_seconds, self.plan.short_share * self.job.budget_seconds)
        return 0.0 if math.isinf(short) else short

    def _tell(self, trial: Trial) -> None:
        """Tell the strategy what a candidate lost, as it would be as repaired, or without what was inherited."""
        excess = max(0.0, trial.drop - 4 * self.job.max_drop) if self.job.max_drop is not None else 0.0
        excess += self.job.objectives.violation(trial.speedup, trial.size_bytes)
        level = self.head_start or max(trial.samples - self.samples_of(trial.parent), 1)
        drop = trial.drop * (max(self.fresh_samples(trial), level) / level) ** POWER
        values = trial.gain / self.base_gain, drop
        self.strategy.tell([Observation(self.structural(trial.decision), values, excess)])
