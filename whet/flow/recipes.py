"""How candidates are trained: by a recipe found for the network, without harm, and not at all where time is wanting."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.study import Study
from whet.core.task import rows_of, split
from whet.decisions.distance import distance
from whet.flow.work import Training, Work
from whet.graph.operations import total_operations
from whet.train.fit import FitReport, held_out_loss
from whet.train.held_out import HeldOut
from whet.train.range_test import Found, RangeTest
from whet.train.recipe import Recipe
from whet.train.speed import LATEST, LEAST_STEPS, TrainingSpeed

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

TEST_SHARE, TEST_SECONDS = 0.05, 60.0
"""The share of the budget that finding a recipe may take, and at most how long."""
WARM_STEPS = 1, 3
"""Steps of the original that warm up, and that tell how many samples the time for finding a recipe is."""
MOST_CUTS = 2
AGAIN = " again"
"""Ends the name of the rate by which what was trained before goes on."""
WORDS: dict[str, str] = {
    "short": "a short training", "full": "a training in earnest", "finish": "a training of a finished network"
}  # fmt: skip


@dataclass
class Trainer:
    """Fine-tunes candidates with distillation from the original; what it learns of rates and speeds the study keeps.

    After each training the best of before, after and the average of its last part is kept, by the quality on the first
    validation samples; a loss of at most `tolerance` counts as none. One that made it worse halves the rate of its kind
    from then on. Training data cannot judge: the original knows them by heart, and what was cut and repaired is nearer
    to it than what trained on. A perceptron whose training took half of its drop away seemed worse on training data set
    apart.
    """

    study: Study
    run: Run
    tolerance: float = 0.0

    @cached_property
    def held_out(self) -> HeldOut:
        """Training batches by which recipes are compared, and which they do not train on; chosen once."""
        return HeldOut.of(self.run.task)

    @cached_property
    def batch(self) -> int:
        """The samples of the first training batch."""
        return rows_of(split(next(iter(self.run.task.training)))[0])

    def __call__(self, net: Net, recipe: Recipe, what: Training, goes_on: bool = False, **limit: Any) -> FitReport:
        """Train `net` in place for `seconds` or `samples`; one that is not worth beginning returns no samples.

        `goes_on` says that it was trained in earnest before: what is too fast for it may be right for fresh cuts.
        """
        work = self.work(net, recipe, what, goes_on, **limit)
        if isinstance(work, FitReport):
            return work
        report = work.done(self.run)
        learn_of(self, work, report)
        return report

    def work(self, net: Net, recipe: Recipe, what: Training, goes_on: bool = False, **limit: Any) -> Work | FitReport:
        """Return what there is to do to train `net`; a report of no samples where it is not worth beginning."""
        operations = self.operations(net)
        wanting = self.wanting(operations, limit.get("seconds"))
        if wanting:
            self._say(f"not trained: {wanting}")
            return FitReport(failure=wanting)
        kind = what + AGAIN * goes_on
        rate = recipe.learning_rate * self._rates().get(kind, 1.0)
        return Work(net, replace(recipe, learning_rate=rate), limit, self.tolerance, what, kind, operations)

    def learn(self, what: str, operations: float, report: FitReport) -> None:
        """Remember how fast a training was."""
        if report.samples:
            self.study.remember(f"samples_per_second_{what}", report.samples_per_second)
            seen = [*self.seen(what), (operations, 1 / report.samples_per_second)]
            self.study.remember(f"training_seconds_{what}", seen[-LATEST:])

    def harmed(self, kind: str, report: FitReport) -> None:
        """Halve the rate of a kind of training that made its candidate worse, and say so."""
        self.scale_rate(kind, 0.5)
        how = f"{self.run.task.metric_name} {report.held_before:.4g} before, {report.held_after:.4g} after"
        again = " of what was trained before" if kind.endswith(AGAIN) else ""
        which = WORDS[kind.removesuffix(AGAIN)] + again
        self._say(f"{which} made its candidate worse ({how}): undone, later ones at half the rate")

    def wanting(self, operations: float, seconds: float | None) -> str:
        """Say why `seconds` are too few to train a network of so many operations a sample, or nothing."""
        if seconds is None:
            return ""
        steps = self.speed("short").samples(operations, seconds) / self.batch
        return f"{seconds:.1f} s are {steps:.0f} steps, less than {LEAST_STEPS}" if steps < LEAST_STEPS else ""

    def speed(self, what: Training) -> TrainingSpeed:
        """Return the forecast of a kind of training, from those of its kind or, while there is none, of any."""
        return TrainingSpeed(self.seen(what) or [pair for kind in ("trial", *WORDS) for pair in self.seen(kind)])

    def samples_per_second(self, net: Net, what: Training = "full") -> float:
        """Return how many samples a second a network will be trained on; infinitely many while nothing was."""
        return self.speed(what).samples(self.operations(net), 1.0)

    @property
    def last_speed(self) -> float:
        """The samples a second of the last full training, or else of the last short one; 0 while there was none."""
        speeds = (self.study.recall(f"samples_per_second_{what}") for what in ("full", "short"))
        return float(next(filter(None, speeds), 0.0))

    @staticmethod
    def operations(net: Net) -> float:
        """Return the floating-point operations of one sample."""
        return total_operations(net) / max(rows_of(net.example), 1)

    def seen(self, what: str) -> list[tuple[float, float]]:
        """Return (operations, seconds) per sample of the last trainings of a kind, of earlier sessions too."""
        return [(float(a), float(b)) for a, b in self.study.recall(f"training_seconds_{what}") or []]

    def scale_rate(self, what: str, factor: float) -> None:
        """Multiply the learning rate of a kind of training from now on."""
        rates = self._rates()
        self.study.remember("rate_shares", rates | {what: rates.get(what, 1.0) * factor})

    def _rates(self) -> dict[str, float]:
        return dict(self.study.recall("rate_shares") or {})

    def _say(self, text: str) -> None:
        self.run.progress({"stage": text, "seconds_left": self.run.budget.left_seconds})


def learn_of(trainer: Trainer, work: Work, report: FitReport) -> None:
    """Have a trainer remember how fast a training was, and whether it did harm."""
    trainer.learn(work.what, work.operations, report)
    if report.kept == "before":
        trainer.harmed(work.kind, report)


# -- finding the recipe --------------------------------------------------------------------------------------------


def find_recipe(evaluator: Evaluator) -> None:
    """Find the recipe for the request's network on cuts of it, unless one was given; a resumed study remembers it.

    It takes at most `TEST_SHARE` of the budget, sees training data alone, and says in the conclusion what it took.
    """
    if not evaluator.request.finds_recipe or evaluator.request.task.train is None:
        return
    memo = evaluator.study.recall("recipe")
    if memo is None:
        found = _found(evaluator)
        fields = {name: value for name, value in asdict(found.recipe).items() if name != "techniques"}
        memo = {"recipe": fields, "short": found.short, "said": _said(found, evaluator.request.recipe)}
        evaluator.study.remember("recipe", memo)
        for kind in ("short", "short" + AGAIN):
            evaluator.trainer.scale_rate(kind, found.short)
    plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in memo["recipe"].items()}
    evaluator.request = replace(evaluator.request, recipe=replace(evaluator.request.recipe, **plain))
    evaluator.recorder.note(memo["said"])


def _found(evaluator: Evaluator) -> Found:
    trainer, request = evaluator.trainer, evaluator.request
    batch = rows_of(split(trainer.held_out.batches[0])[0])
    evaluator.run.progress({"stage": "finding the recipe", "seconds_left": evaluator.run.budget.left_seconds})

    def train(net: Net, recipe: Recipe, samples: int) -> FitReport:
        with evaluator.stopwatch("train"):
            report: FitReport = evaluator.run.fit(net, recipe=recipe, samples=samples, held_out=trainer.held_out)
        trainer.learn("trial", trainer.operations(net), report)
        return report

    def loss(net: Net) -> float:
        return held_out_loss(net, request.task, trainer.held_out, teacher=request.net, recipe=request.recipe)

    with evaluator.stopwatch.stage("recipe"):
        samples, until = TEST_SHARE * (request.epochs or 0.0) * evaluator.request.epoch_samples, math.inf
        if math.isfinite(request.budget_seconds):
            until = evaluator.run.budget.spent_seconds + min(TEST_SHARE * request.budget_seconds, TEST_SECONDS)
            speed = [train(request.net.copy(), request.recipe, n * batch).samples_per_second for n in WARM_STEPS][-1]
            samples = speed * (until - evaluator.run.budget.spent_seconds)
        test = RangeTest(
            train, loss, request.net, (), batch, samples, lambda: evaluator.run.budget.spent_seconds > until
        )
        if test.worth_it:
            test.cuts = [
                cut for cut in (_cut(evaluator, d) for d in trial_decisions(request.space())[:MOST_CUTS]) if cut
            ]
        return test.run(request.recipe)


def trial_decisions(space: Space) -> list[Decision]:
    """Return decisions that cut all of a kind: every second choice where it has two values, else all, half and far.

    >>> blocks, width = [Choice(f"{i}:keep", (True, False), True) for i in "012"], Choice("a:width", (0.5, 0.8, 1), 1)
    >>> [dict(d) for d in trial_decisions(Space([*blocks, width]))]
    [{'1:keep': False}, {'a:width': 0.8}, {'a:width': 0.5}]
    """
    kinds: dict[str, list[Choice]] = {}
    for choice in space:
        if len(choice.values) > 1:
            kinds.setdefault(choice.kind, []).append(choice)
    found = []
    for alike in kinds.values():
        if all(len(c.values) == 2 for c in alike):
            found.append({c.name: _by_distance(c)[-1] for c in alike[1::2] or alike})
            continue
        found.append({c.name: _by_distance(c)[len(c.values) // 2] for c in alike})
        found.append({c.name: _by_distance(c)[-1] for c in alike})
    return list(dict.fromkeys(space.canonical(Decision(values)) for values in found))


def _by_distance(choice: Choice) -> list[Any]:
    """Return a choice's values, the identity first and the furthest from it last."""
    return sorted(choice.values, key=lambda value: distance(choice, value))


def _cut(evaluator: Evaluator, decision: Decision) -> Net | None:
    """Return the repaired cut of a decision; one that cannot be made says so and is left out."""
    try:
        net = evaluator.builder.structure(decision).net
    except (RuntimeError, ValueError, IndexError, KeyError) as error:
        left = evaluator.run.budget.left_seconds
        evaluator.run.progress({"stage": f"a cut to find the recipe by failed: {error}", "seconds_left": left})
        return None
    return net if evaluator.builder.repairs else evaluator.builder.recalibrated(net)


def _said(found: Found, given: Recipe) -> str:
    recipe = found.recipe
    words = f"{recipe.optimizer} at {recipe.learning_rate:.3g} ({recipe.schedule})"
    if found.why:
        return f"training goes by {words}: {found.why}"
    taken = min((t for t in found.tried if t.recipe == recipe), key=lambda t: -t.samples, default=None)
    shares = f", which left {taken.left:.0%} of a cut's damage after {taken.samples} samples" if taken else ""
    short = f"; short trainings at {found.short:.2g} of the rate" if found.short < 1 else ""
    how = "found best of" if recipe != given else "stayed the best of"
    return f"training goes by {words}, {how} {len({t.recipe for t in found.tried})} recipes{shares}{short}"
