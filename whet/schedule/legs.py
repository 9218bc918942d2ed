"""`Legs`: the trainings of a supernet one after the other, each of fewer rungs of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from whet.core.space import Decision
from whet.schedule.chain import RUNGS
from whet.schedule.mending import Mending
from whet.schedule.recovery import BELIEVED, SPARE, Pair, Recovery
from whet.schedule.situation import Situation

LEGS = ((0.35, RUNGS), (0.65, 4), (1.0, 3))
"""The shares of the supernet's time or samples at which fewer rungs go on, and how many are trained until then at most.

A training ends only where rungs are left behind, for the next begins at the full learning rate: three rungs of
ResNet-20 lost 0.68, 0.92 and 1.24 points after three trainings of 560 thousand images together, and 0.72, 1.02 and
1.04 after one of 240 thousand that a fourth rung shared.
"""
CHOSEN_UNTIL = 0.75
"""The share of the budget after which the training of a chain ends whose last rungs were chosen by their drops.

Such a chain ends about the limit, and more training is what its last rung lacks: ResNet-20's ended at x1.84, and at
x1.61 where it was trained for 0.4 of the budget, without a rung beyond the chosen one. Where six rungs only cross the
limit somewhere, the time is for what extends them: ResNet-44's ended at x1.91 when it was trained as long.
"""


class Legs:
    """The rungs of a chain, the rivals of its last one, and what each training of the supernet does.

    `parts` are the shares of the plan at which each training ends, and how many sub-networks it trains; they are drawn
    up before the last rung is chosen among its rivals. `places` are then where the rungs' drops are among those of all
    that the first leg trained. `chained` says that the rungs end where a limit is expected.
    """

    def __init__(
        self, situation: Situation, mending: Mending, rungs: Sequence[Decision], rivals: Sequence[Decision],
        chained: bool,
    ) -> None:  # fmt: skip
        self.situation, self.mending, self.chained = situation, mending, chained
        self.rungs, self.rivals = list(rungs), list(rivals)
        self.places: list[int] = []
        self.parts = self._parts()
        mending.share = 1 - self.until if rivals else 1.0

    @property
    def until(self) -> float:
        """The share of the budget after which the supernet's training ends."""
        planned = self.situation.plan.elastic_until
        return max(CHOSEN_UNTIL, planned) if self.rivals else planned

    def _parts(self) -> list[tuple[float, int]]:
        plan, total, rivals = self.situation.plan, len(self.rungs), len(self.rivals)
        trained = [min(most, total) if self.chained else total for _, most in LEGS]
        trained[0] += rivals
        trained[-1] = min(LEGS[-1][1], total + 1) if rivals else trained[-1]
        longer = self.until / plan.elastic_until if plan.elastic_samples is None else 1.0
        legs = [(share, most) for (share, _), most in zip(LEGS, trained, strict=True)]
        legs[-1] = longer, trained[-1]
        return [leg for leg, later in pairwise(legs) if leg[1] > later[1]] + legs[-1:]

    def ends(self, leg: int) -> tuple[float, float | None]:
        """Return the seconds of the budget at which a leg ends, and its samples where these limit it."""
        plan = self.situation.plan
        samples = plan.elastic_samples and plan.elastic_samples * self.portion(leg)
        return self.parts[leg][0] * plan.elastic_until * self.situation.goal.budget_seconds, samples

    def drawn(self, leg: int, kept: slice) -> list[Decision]:
        """Return what a leg's steps draw from: the kept rungs and, at first, the rivals.

        In the last leg of a chain whose last rungs were chosen every other step is the furthest one's, which learns
        slowest.
        """
        rungs = self.rungs[kept] or [Decision()]
        if self.rivals and leg + 1 == len(self.parts):
            return rungs[:-1] + rungs[-1:] * max(len(rungs) - 1, 1)
        return rungs + (self.rivals if not leg else [])

    def window(self, leg: int) -> slice:
        """Return which rungs a leg trains: those around the furthest that is expected to end within the limit."""
        limit, most = self.situation.goal.max_drop or 0.0, self.parts[leg][1]
        if not leg or most == len(self.rungs):
            return slice(0, len(self.rungs))
        power = BELIEVED[False, True]
        recovery = Recovery.learnt(limit, [(pair, power) for pair in self._pairs(leg)], power)
        spent, more = self.own_samples(leg), self.samples_to_come(leg)
        drops = self.drops(leg - 1)
        within = [i for i, drop in enumerate(drops) if recovery.expected(drop, spent, more) <= SPARE * limit]
        first = max(0, min(max(within, default=0) - most // 2, len(self.rungs) - most))
        return slice(first, first + most)

    def _pairs(self, legs: int) -> list[Pair]:
        """Return what each of the first so many legs did to the drops of the rungs that it trained."""
        return [
            (self.drops(leg - 1)[rung], self.own_samples(leg), self.drops(leg)[rung], self.own_samples(leg + 1))
            for leg in range(1, legs)
            for rung in range(len(self.rungs))[self.window(leg)]
            if self.drops(leg - 1)
        ]

    def drops(self, leg: int) -> list[float]:
        """Return the drops of all rungs after a leg; none where nothing had to be chosen then."""
        drops = self.situation.study.recall(f"supernet_drops_{leg}") or []
        return drops if leg or not self.places else [drops[i] for i in self.places]

    # -- samples -------------------------------------------------------------------------------------------------------

    def portion(self, leg: int) -> float:
        """Return how long a leg is, in the shares by which `parts` tell where each ends."""
        return self.parts[leg][0] - (self.parts[leg - 1][0] if leg else 0.0)

    def own_samples(self, legs: int) -> int:
        """Return how many of the samples of the first so many legs count as a sub-network's own.

        Of k nested sub-networks that train at once, each gains as if from 1 / sqrt(k) of the samples.
        """
        recall = self.situation.study.recall
        return max(1, int(sum(self._sharing(leg) * recall(f"supernet_samples_{leg}") for leg in range(legs))))

    def _sharing(self, leg: int) -> float:
        return float(max(self.parts[leg][1], 1) ** -0.5)

    def samples_to_come(self, leg: int) -> float:
        """Return what a rung will be trained on from a leg on: its part of the legs, and one full training."""
        plan, goal = self.situation.plan, self.situation.goal
        legs = sum(self._sharing(later) * self.portion(later) for later in range(leg, len(self.parts)))
        if plan.elastic_samples is not None:
            return legs * plan.elastic_samples + (plan.full_samples or 0)
        full = max(1 - self.until - plan.elastic_explore_share, 0.0) / plan.rounds(self.mending.rounds_seconds)
        per_second = float(self.situation.study.recall("supernet_samples_per_second"))
        return per_second * goal.budget_seconds * (plan.elastic_until * legs + full)
