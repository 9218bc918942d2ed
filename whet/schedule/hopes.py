"""The candidates that anyone would try: told from their outputs' error first, then tried where that gives hope."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule.actions import Actions, Foretell, Hope, Predict, Try
from whet.schedule.history import SCORED_NOTE
from whet.schedule.mending import Mending
from whet.schedule.obvious import in_words, untried
from whet.schedule.situation import Situation
from whet.schedule.told import DIGITS
from whet.schedule.untouched import FASTER

OBVIOUS_SHARE, OBVIOUS_SECONDS, OBVIOUS_MOST = 0.35, 8.0, 0.6
"""The share of the budget that is left in which obvious candidates are tried; of a short one so long, up to a share."""
HOPING = 0.5
"""The share of that time in which their errors are looked at, before any is timed."""
LOOKS = 2
"""How many candidates are scored at most for the sake of what errors tell."""
BEYOND = (5.0, 1.0, 20.0)
"""Nothing that cuts more than a candidate of such a drop is among the obvious: in shares of the limit at least, of what
the rounds can mend, and of the limit at most."""

REALISED, SURE = 0.8, 0.02
"""The power of a gain by operations that is usual, and how firmly it is believed: as by one candidate of x1.15."""


class Hopes:
    """Repairs the candidates that anyone would try; times and scores those that their outputs' error makes hope for.

    So no search ends behind them, and none goes step by step where an error tells the end at once. None is trained
    here; the rounds train what promises most.
    """

    def __init__(self, situation: Situation, mending: Mending) -> None:
        self.situation, self.mending = situation, mending

    def run(self) -> Actions[None]:
        """Look at the most hopeful in turn while there is time; of the others log what their errors tell."""
        s = self.situation
        if not s.facts.repairs:
            return
        left = s.clock.left_seconds
        until = s.clock.spent_seconds + max(OBVIOUS_SHARE * left, min(OBVIOUS_SECONDS, OBVIOUS_MOST * left))
        hopes = yield from self._known_hopes(s.clock.spent_seconds + HOPING * (until - s.clock.spent_seconds))
        while not s.history.hopeless() and s.clock.spent_seconds + s.clock.costs.cost("race", 1.0) <= until:
            decision = self._most_hopeful(hopes)
            if decision is None:
                break
            s.say(f"trying {in_words(decision)}")
            verified = self.mending.slow and s.goal.max_drop is not None
            yield Try(decision, s.finishing.of_candidates, verified=verified, counted=False)
        for decision, hope in self._waiting(hopes).items():
            gain = s.finishing.base_gain * hope.gain ** self.power(decision, hopes)
            yield Predict(decision, hope.error, s.rate(), gain, hope.skipped)

    def _known_hopes(self, until: float) -> Actions[dict[Decision, Hope]]:
        """Return the hopes of the study; a resumed one goes on with those that it had."""
        known = self.situation.study.recall("hopes")
        if known is not None:
            return {Decision.from_json(key): Hope(**hope) for key, hope in known.items()}
        found = yield from self._hopes(until)
        self.situation.study.remember("hopes", {d.to_json(): asdict(hope) for d, hope in found.items()})
        return found

    def _hopes(self, until: float) -> Actions[dict[Decision, Hope]]:
        """Return what the error of the outputs tells of the obvious candidates, as far as there is time for.

        The one in the middle of what is left comes next: what extends one whose drop is beyond what the rounds can mend
        is left out, so a short time tells about where they end. They are returned the mildest first.
        """
        s, hopes = self.situation, dict[Decision, Hope]()
        most = math.inf if s.goal.trials is None else s.goal.trials / 2
        wanted = s.facts.obvious()
        while not s.history.hopeless():
            seen = s.history.explored() + s.history.of_stage("predicted")
            tried = [s.history.structural(t.decision) for t in seen + s.history.failures("short")]
            broken = [s.history.structural(t.decision) for t in seen if t.drop > self.beyond()]
            broken += [d for d, hope in hopes.items() if s.drop_told(hope.error) > self.beyond()]
            left = untried(s.space, wanted, [*tried, *hopes], broken)
            step = s.clock.costs.cost("repair", 1.0) * bool(hopes)
            if not left or len(tried) + len(hopes) >= most or s.clock.spent_seconds + step > until:
                break
            middle = left[len(left) // 2]
            hope = yield Foretell(middle)
            if hope is not None:
                hopes[middle] = replace(hope, error=round(hope.error, DIGITS))
        return {decision: hopes[decision] for decision in wanted if decision in hopes}

    def power(self, decision: Decision, hopes: Mapping[Decision, Hope]) -> float:
        """Return the power of a gain by operations that is to be expected, by the candidates that were timed.

            p = (sum_i w_i m_i f_i + r u) / (sum_i w_i f_i^2 + r)

        f is the log of the gain by operations, m of the measured one, u the usual power and r how firmly it is
        believed. The weight is the share of the kinds of choices that two decisions have in common: ResNet-44 with
        three quarters of its channels was no faster, without every second block it was by as much as it has less.
        """
        s, own = self.situation, kinds_of(decision)
        measured, foretold = REALISED * SURE, SURE
        for trial in s.history.explored():
            hope = self._hope_of(trial, hopes)
            if hope is None or hope.gain <= FASTER:
                continue
            others = kinds_of(s.history.structural(trial.decision))
            alike = len(own & others) / len(own | others)
            log = math.log(hope.gain)
            measured += alike * log * math.log(max(trial.gain / s.finishing.base_gain, 1e-6))
            foretold += alike * log**2
        return min(max(measured / foretold, 0.0), 1.0)

    def _hope_of(self, trial: Trial, hopes: Mapping[Decision, Hope]) -> Hope | None:
        return hopes.get(self.situation.history.structural(trial.decision))

    def _waiting(self, hopes: Mapping[Decision, Hope]) -> dict[Decision, Hope]:
        """Return the hopes that were not tried yet."""
        history = self.situation.history
        seen = history.explored() + history.of_stage("predicted") + history.failures("short")
        tried = {history.structural(t.decision) for t in seen}
        return {d: hope for d, hope in hopes.items() if d not in tried}

    def _most_hopeful(self, hopes: Mapping[Decision, Hope]) -> Decision | None:
        """Return the fastest of the candidates that are told to be within the limit, or within what the rounds mend.

        None where the fastest of either were scored already; without a limit the mildest that was not. Where what was
        scored is beyond both, its error told too little: then the mildest tells of those nearer to the limit.
        """
        s, waiting = self.situation, self._waiting(hopes)
        limit = s.goal.max_drop
        if limit is None:
            return next(iter(waiting), None)
        known = ((t.drop, self._hope_of(t, hopes)) for t in s.history.explored())
        scored = [(drop, hope.gain) for drop, hope in known if hope is not None]
        for reach in (limit, limit if self.mending.slow else self.mending.mendable(limit)):
            best = max((gain for drop, gain in scored if drop <= reach), default=1.0)
            faster = [d for d, hope in waiting.items() if s.drop_told(hope.error) <= reach and hope.gain > best]
            if faster:
                return max(faster, key=lambda d: hopes[d].gain)
        if scored and not self.mending.slow and min(drop for drop, _ in scored) > reach and len(scored) < LOOKS:
            return min(waiting, key=lambda d: hopes[d].error, default=None)
        return None

    def beyond(self) -> float:
        """Return the drop of a candidate beyond which what cuts more is not among the obvious."""
        limit = self.situation.goal.max_drop
        if not limit:
            return math.inf
        least, mended, most = BEYOND
        return min(max(least * limit, mended * self.mending.mendable(limit)), most * limit)


def kinds_of(decision: Decision) -> frozenset[str]:
    """Return the kinds of choices that a decision makes.

    >>> sorted(kinds_of(Decision({"a:width": 0.5, "b:width": 0.5, "c:keep": False})))
    ['keep', 'width']
    """
    return frozenset(name.rpartition(":")[2] for name in decision)


def told(s: Situation) -> list[Trial]:
    """Return the candidates that were left at what their errors tell, with the drops that these tell by now."""
    errors, known = s.told.errors, s.structures_of("short") | s.structures_of("full") | s.told.untrained.keys()
    seen = {t.decision: t for t in s.history.of_stage("probe", "predicted")}
    waiting = [t for d, t in seen.items() if d in errors and d not in known]
    finished = {d: s.finishing.base_gain if d in s.told.probed else 1.0 for d in seen}
    return [replace(t, drop=s.drop_told(errors[t.decision]), gain=finished[t.decision] * t.gain) for t in waiting]


def missed(s: Situation) -> list[Trial]:
    """Return the candidates that were found beyond the limit when they were verified as repaired."""
    known = {s.history.structural(t.decision) for t in s.history.of_stage("short", "full")}
    scored = [t for t in s.history.of_stage("predicted") if t.note == SCORED_NOTE]
    return [replace(t, decision=d) for t in scored if (d := s.history.structural(t.decision)) not in known]
