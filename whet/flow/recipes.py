"""`Trainer`: trains the candidates of one optimization so that none is harmed, and not at all where time is wanting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from whet.core.net import Net
from whet.core.run import Run
from whet.core.study import Study
from whet.core.task import rows_of, split
from whet.search.predictors.operations import total_operations
from whet.train.fit import FitReport
from whet.train.held_out import HeldOut
from whet.train.recipe import Recipe
from whet.train.speed import LATEST, LEAST_STEPS, TrainingSpeed

Training = Literal["short", "full", "finish"]
WORDS: dict[str, str] = {"short": "a short training", "full": "a training in earnest", "finish": "a training in int8"}


@dataclass
class Trainer:
    """Fine-tunes candidates with distillation from the original; what it learns of rates and speeds the study keeps.

    After each training the better of before and after is kept, by the loss on held-out training data. One that made
    it worse halves the rate of its kind from then on.
    """

    study: Study
    run: Run

    @cached_property
    def held_out(self) -> HeldOut:
        return HeldOut.of(self.run.task)

    def __call__(self, net: Net, recipe: Recipe, what: Training, **limit: Any) -> FitReport:
        """Train `net` in place for `seconds` or `samples`; one that is not worth beginning returns no samples."""
        operations = self.operations(net)
        wanting = self.wanting(operations, limit.get("seconds")) if what != "full" else ""
        if wanting:
            self._say(f"not trained: {wanting}")
            return FitReport(failure=wanting)
        rate = recipe.learning_rate * 0.5 ** self._halvings().get(what, 0)
        report: FitReport = self.run.fit(
            net, recipe=replace(recipe, learning_rate=rate), held_out=self.held_out, **limit
        )
        self.learn(what, operations, report)
        return report

    def learn(self, what: str, operations: float, report: FitReport) -> None:
        """Remember how fast a training was, and whether it did harm."""
        if report.samples:
            self.study.remember(f"samples_per_second_{what}", report.samples_per_second)
            seen = [*self.seen(what), (operations, 1 / report.samples_per_second)]
            self.study.remember(f"training_seconds_{what}", seen[-LATEST:])
        if report.kept != "before":
            return
        halvings = self._halvings()
        self.study.remember("halved_rates", halvings | {what: halvings.get(what, 0) + 1})
        how = report.failure or f"loss {report.held_before:.4g} before, {report.held_after:.4g} after"
        self._say(f"{WORDS.get(what, what)} made its candidate worse ({how}): undone, later ones at half the rate")

    def wanting(self, operations: float, seconds: float | None) -> str:
        """Say why `seconds` are too few to train a network of so many operations a sample, or nothing."""
        if seconds is None:
            return ""
        batch = rows_of(split(self.held_out.batches[0])[0])
        steps = self.speed("short").samples(operations, seconds) / batch
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
        return [(float(a), float(b)) for a, b in self.study.recall(f"training_seconds_{what}") or []]

    def _halvings(self) -> dict[str, int]:
        return dict(self.study.recall("halved_rates") or {})

    def _say(self, text: str) -> None:
        self.run.progress({"stage": text, "seconds_left": self.run.budget.left_seconds})
