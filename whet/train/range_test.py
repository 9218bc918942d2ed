"""`range_test`: which optimizer, learning rate and schedule train the cuts of this network best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from whet.core.net import Net
from whet.train.fit_report import FitReport
from whet.train.recipe import Recipe
from whet.train.speed import LEAST_STEPS

TRIED: tuple[tuple[str, float], ...] = (
    ("adamw", 1e-3), ("sgd", 0.05), ("sgd", 0.015), ("adamw", 3e-3), ("sgd", 0.005), ("adamw", 3e-4), ("sgd", 0.15),
    ("adamw", 1e-2),
)  # fmt: skip
"""Optimizers and rates beside those of the recipe at hand, in the order in which there is time for them."""
ADAMW_DECAY = 0.01
SCHEDULES_TRIED = ("one-cycle", "cosine")
FINALISTS = 4
FIRST_SHARE = 0.4
"""The share of the budget that the first round, of short trainings of one cut, may take."""
BETTER = 0.03
"""By how much less of a cut's damage another recipe has to leave than the one at hand, to take its place."""
MUCH_BETTER = 0.2
"""The same where only short trainings tell, which favour lower rates than long ones."""
CLEARLY_BETTER = 0.1
"""The same for the rate of short trainings beside that of long ones: of ResNet-20, cut to half, a tenth of the
rate left 82 % of the damage after twenty steps, 0.3 of it 86 %, and the rate itself 85 %: noise."""
NOTHING = 0.02
"""The damage of a cut, in shares of the original's loss, by which recipes cannot be told apart."""
HARM = 3.0
"""The damage, in shares of what it was, that counts for a training that failed, and the most that counts for any."""
GENTLER = 1 / 3

Train = Callable[[Net, Recipe, int], FitReport]
"""Trains a net in place by a recipe on so many samples, and judges it on held-out data."""


@dataclass(frozen=True)
class Tried:
    """A training of a range test, and what it left of a cut's damage: the held-out loss beyond the original's."""

    recipe: Recipe
    cut: int
    samples: int
    left: float


@dataclass(frozen=True)
class Found:
    """The recipe that was found; `short` is the share of its rate that short trainings take; all that was tried."""

    recipe: Recipe
    short: float = 1.0
    tried: tuple[Tried, ...] = ()
    why: str = ""


@dataclass
class RangeTest:
    """Tries recipes on cuts of a network, within `samples` training samples in all, beginning none once `expired()`.

    In a first round each trains the most damaged cut for `LEAST_STEPS` steps; the best of them train every cut for as
    long as the samples last. A recipe is worth what it leaves of the damage: with the held-out loss `l`,

        left = (l(trained cut) - l(original)) / (l(cut) - l(original)),

    and the one that leaves least is taken, where that is `BETTER` than the recipe at hand. The original is trained
    too, as its own student: where that does more damage than that cut has, the rate is lowered. The best of the first
    round says at which share of the rate short trainings go.

    Papers: Smith 2017, Cyclical Learning Rates for Training Neural Networks (the range test: short trainings tell the
    rate); Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits (sequential halving).
    """

    train: Train
    loss: Callable[[Net], float]
    original: Net
    cuts: Sequence[Net]
    batch: int
    samples: float
    expired: Callable[[], bool] = lambda: False
    used: int = 0
    tried: list[Tried] = field(default_factory=list)
    original_loss: float = math.nan

    @property
    def worth_it(self) -> bool:
        """Whether there are samples for two recipes, and to try one on the original."""
        return self.samples >= 4 * LEAST_STEPS * self.batch

    def run(self, base: Recipe) -> Found:
        """Return the recipe found, or `base` and why where there is not enough to tell."""
        least = LEAST_STEPS * self.batch
        if not self.worth_it:
            return Found(base, why="there is no time to try others")
        self.original_loss = self.loss(self.original)
        first = self._first_round(base, least)
        if not first:
            return Found(base, why="the cuts tried did no damage")
        chosen = self._second_round(first, base, least)
        alike = {r: left for r, left in first.items() if r.optimizer == chosen.optimizer}
        quick = _chosen(alike, replace(chosen, schedule=base.schedule), CLEARLY_BETTER)
        if not self._rise(chosen, least) < self.loss(self.cuts[0]) - self.original_loss:
            chosen = replace(chosen, learning_rate=chosen.learning_rate * GENTLER)
        return Found(chosen, min(1.0, quick.learning_rate / chosen.learning_rate), tuple(self.tried))

    def _first_round(self, base: Recipe, least: int) -> dict[Recipe, float]:
        """Return what recipes leave of the most damaged cut, for as many as there are samples for."""
        left: dict[Recipe, float] = {}
        losses = [(self.loss(cut), cut) for cut in self.cuts]
        damaged = [pair for pair in losses if pair[0] - self.original_loss > NOTHING * self.original_loss]
        self.cuts = [cut for _, cut in sorted(damaged, key=lambda pair: -pair[0])]
        again = (1 - FIRST_SHARE) * self.samples >= least * (1 + 2 * 3 * len(self.cuts))
        limit = FIRST_SHARE * self.samples if again else self.samples - least
        for recipe in candidates(base) if self.cuts else ():
            if len(left) > 1 and (self.used + least > limit or self.expired()):
                break
            left[recipe] = self._left(recipe, least, self.cuts[:1])
        return left

    def _second_round(self, first: dict[Recipe, float], base: Recipe, least: int) -> Recipe:
        """Return the best of longer trainings on all cuts, or of the first round where there is no time for them."""
        finalists, spare = _finalists(first, base), self.samples - self.used - least
        while len(finalists) > 2 and spare < 2 * least * (len(finalists) + 1) * len(self.cuts):
            finalists.pop()
        longer = int(spare / ((len(finalists) + 1) * len(self.cuts)))
        left: dict[Recipe, float] = {}
        for recipe in finalists if longer >= 2 * least else ():
            if not self.expired():
                left[recipe] = self._left(recipe, longer, self.cuts)
        if len(left) < 2:
            return _chosen(first, base, MUCH_BETTER)
        chosen = _chosen(left, base)
        if not self.expired():
            other = replace(chosen, schedule=next(s for s in SCHEDULES_TRIED if s != base.schedule))
            left[other] = self._left(other, longer, self.cuts)
        return _chosen(left, chosen)

    def _left(self, recipe: Recipe, samples: int, cuts: Sequence[Net]) -> float:
        """Return what is left of the damage after a training, in the mean over the cuts."""
        return fmean(self._once(recipe, cut, samples) for cut in cuts)

    def _once(self, recipe: Recipe, cut: Net, samples: int) -> float:
        report = self._report(cut, recipe, samples)
        left = (report.held_after - self.original_loss) / (report.held_before - self.original_loss)
        left = min(left, HARM) if math.isfinite(left) else HARM
        self.tried.append(Tried(recipe, self.cuts.index(cut), report.samples, left))
        return left

    def _rise(self, recipe: Recipe, samples: int) -> float:
        """Train the original by itself; return by how much its held-out loss rises."""
        report = self._report(self.original, recipe, samples)
        return report.held_after - report.held_before

    def _report(self, net: Net, recipe: Recipe, samples: int) -> FitReport:
        report = self.train(net.copy(), recipe, samples)
        self.used += report.samples
        return report


def _chosen(left: dict[Recipe, float], base: Recipe, better: float = BETTER) -> Recipe:
    """Return the recipe that leaves least, or `base` where that is hardly less than it leaves."""
    best = min(left, key=left.__getitem__)
    return best if base not in left or left[best] < left[base] - better else base


def _finalists(left: dict[Recipe, float], base: Recipe) -> list[Recipe]:
    """Return the recipe at hand, the best of each optimizer and, since longer trainings bear it, the next rate up."""
    ranked = sorted(left, key=left.__getitem__)
    best = [next((r for r in ranked if r.optimizer == kind), base) for kind in ("sgd", "adamw")]
    above = [r for r in ranked if r.optimizer == ranked[0].optimizer and r.learning_rate > ranked[0].learning_rate]
    up = sorted(above, key=lambda r: r.learning_rate)[:1]
    return list(dict.fromkeys([base, ranked[0], *best, *up]))[:FINALISTS]


def candidates(base: Recipe) -> list[Recipe]:
    """Return the recipe at hand and those beside it.

    >>> [(r.optimizer, r.learning_rate) for r in candidates(Recipe())][:3]
    [('sgd', 0.05), ('adamw', 0.001), ('sgd', 0.015)]
    """
    decay = {kind: base.weight_decay if base.optimizer == kind else 0.0 for kind in ("sgd", "adamw")}
    decay["adamw"] = decay["adamw"] or ADAMW_DECAY
    others = [replace(base, optimizer=o, learning_rate=rate, weight_decay=decay[o]) for o, rate in TRIED]
    return list(dict.fromkeys([base, *others]))
