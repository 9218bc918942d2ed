"""`Evaluator`: does what a scheduler says, and writes what comes of it into the study."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch

from whet.core.net import Net
from whet.core.passes import Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Study, Trial
from whet.core.target import Artifact
from whet.data.kinds import predictions
from whet.flow import candidates, layerwise, mixing, pressing, supernets, training, turns
from whet.flow.baseline import Baseline, original_of, uncompressed
from whet.flow.builder import Builder
from whet.flow.conclude import meant
from whet.flow.files import Files
from whet.flow.folder import Folder
from whet.flow.quantities import resolved
from whet.flow.recipes import Trainer, find_recipe
from whet.flow.recorder import Recorder
from whet.flow.request import Request
from whet.flow.scoring import Scores
from whet.flow.stopwatch import Stopwatch
from whet.flow.timing import Timing
from whet.flow.work import Training
from whet.schedule import actions
from whet.schedule.actions import Action
from whet.schedule.history import SCORED_NOTE, History
from whet.schedule.pressing import Press
from whet.schedule.recovery import NOISE
from whet.schedule.told import Told
from whet.train.fit import FitReport
from whet.train.recipe import Recipe

DOERS: dict[type[Action], Callable[[Evaluator, Any], Any]] = {
    actions.FinishUntouched: candidates.finish_untouched,
    actions.Foretell: candidates.foretell,
    actions.Predict: candidates.predict,
    actions.Probe: candidates.probe,
    actions.Try: candidates.look,
    actions.Verify: candidates.verify,
    actions.FindRecipe: lambda evaluator, action: find_recipe(evaluator),
    actions.Train: training.train,
    actions.Finish: training.finish,
    actions.Confirm: training.confirm,
    actions.TrainTogether: supernets.train,
    actions.Score: supernets.score,
    actions.MeasureLayers: layerwise.measure,
    actions.Mix: layerwise.mix,
    actions.LayersOf: mixing.layers_of,
    actions.ProfileLayers: mixing.profile,
    actions.Race: mixing.race,
    actions.Several: turns.several,
    Press: pressing.press,
}
"""What does each action; where it trains, it is a doing that asks for the training."""


class Evaluator:
    """The tools of one optimization; all that they find out goes into `study`.

    `baseline` is there once it is prepared. Speed-ups are those of `Timing`, measured interleaved with the uncompressed
    network.
    """

    baseline: Baseline
    workers: turns.Workers | None = None
    """Those who train for this process; without them it trains itself."""

    def __init__(self, request: Request, study: Study, run: Run, folder: Folder) -> None:
        self.request, self.study, self.run, self.folder = request, study, run, folder
        self.stopwatch = Stopwatch(own=study.recall("seconds") or {})
        self.recorder = Recorder(study, run, folder, self.stopwatch, request.goal)
        self.builder = Builder(request, run, self.stopwatch)
        self.files = Files(request, run, folder, self.stopwatch)
        self.supernets = supernets.Supernets(request, self.builder, run)
        self.mixtures = mixing.Mixtures()
        self.pressed: dict[Decision, tuple[Result, int]] = {}
        """The untouched network in ways of finishing that were trained, with the samples of each."""
        self.kept: tuple[Any, Result] | None = None
        """What was built last for an action, by what it was built of: the next one may need it again."""

    def prepare(self) -> None:
        """Write, time and score the uncompressed network in every setting of any runtime."""
        request, study = self.request, self.study
        score = lambda artifact: self.scores.file(artifact, request.task.val)  # noqa: E731
        original = original_of(request, study, score, self.files.claim, self.stopwatch)
        if request.limit is not None:
            self.request = replace(request, max_drop=resolved(request.limit, original.quality, request.task))
        self.recorder.goal, self.recorder.drop_unit = self.request.goal, self.request.drop_unit
        self.recorder.reference = original.quality
        for sentence in meant(self.request, original.quality):
            self.recorder.note(sentence)
        bars = original.bars(request.target, self.drop, self.request.max_drop)
        seconds = self.run.budget.spent_seconds - self.run.budget.spent_before
        self.baseline = Baseline(original, bars, seconds)
        if request.objectives.need_memory:
            self.baseline.memory_bytes = self.files.memory_of(self.baseline.artifact)
        self.recorder.whole = self.baseline.figures
        given = request.target, request.net, original.path, original.latency_ms
        self.files.timing = Timing(*given, self.baseline.unfit, self.baseline.names, request.batch)

    @property
    def is_prepared(self) -> bool:
        """Whether there is something to deliver."""
        return hasattr(self, "baseline")

    def do(self, action: Action) -> Any:
        """Do an action and return its outcome; None where it failed, if it may."""
        if action.attempt is None:
            return self._done(action)
        counted = self.stopwatch("probe") if isinstance(action, actions.Probe) else nullcontext()
        with counted, self.recorder.attempt(*action.attempt):
            return self._done(action)
        return None

    def doing(self, action: Action) -> Any:
        """Return the outcome of an action, or the doing that leads to it."""
        return DOERS[type(action)](self, action)

    def _done(self, action: Action) -> Any:
        found = self.doing(action)
        return turns.alone(found, partial(turns.fit, self)) if isinstance(found, Generator) else found

    # -- what is known ---------------------------------------------------------------------------------------------

    @cached_property
    def history(self) -> History:
        """The queries of the log, once the goal is known."""
        space, goal, request = self.builder.space, self.request.goal, self.request
        with request.net.evaluating(), torch.no_grad():
            each = predictions(request.net(*request.net.example), request.task.kinds)
        return History(self.study, space, goal, self.builder.repairs, self.baseline.figures, each)

    @cached_property
    def told(self) -> Told:
        """What errors tell of drops; where nothing is trained nothing is scored in torch."""
        task = self.request.task
        in_torch = lambda: self.scores.reference  # noqa: E731
        reference = in_torch if task.train is not None else lambda: self.baseline.reference
        return Told(self.study, task, reference, self.builder.repairs)

    @cached_property
    def scores(self) -> Scores:
        """What scores networks and files; made when the first one is scored."""
        return Scores(self.request, uncompressed(self.request), self.stopwatch)

    def quick(self, net: Net, limit: float | None = None) -> tuple[float, float]:
        """Score `net` and the original in torch, on as many validation samples as it takes."""
        return self.scores.net(net, limit)

    def drop(self, quality: float) -> float:
        """Return by how much a quality on the validation data is worse than the original's, in the limit's unit."""
        return self.request.task.loss_of_quality(quality, self.recorder.reference)

    # -- what actions share ----------------------------------------------------------------------------------------

    @cached_property
    def trainer(self) -> Trainer:
        """What trains candidates; a loss of quality within the noise of the limit counts as none."""
        return Trainer(self.study, self.run, NOISE * (self.request.max_drop or 0.0))

    def train(self, net: Net, recipe: Recipe, what: Training, goes_on: bool = False, **limit: Any) -> FitReport:
        """Fine-tune `net` in place with distillation from the original, for `seconds` or `samples`, without harm."""
        with self.stopwatch("train"):
            report = self.trainer(net, recipe, what, goes_on, **limit)
            for part in ("data", "teacher", "check"):
                self.stopwatch.charge(part, getattr(report, f"{part}_seconds"))
        return report

    def verify(
        self, result: Result, decision: Decision, samples: int, parent: int | None, brief: bool = False,
        gain: float | None = None,
    ) -> Trial:  # fmt: skip
        """Save, time and score a finished net on the full validation data in its runtime, and log it.

        With the `gain` that is expected of it, it is scored first, and not timed where it breaks the limit.
        """
        request, record = self.request, self.recorder.record
        folder = request.out / "trials" / str(self.study.next_number)
        self.files.claim(folder)
        path = self.files.save(result.net, folder)
        said = {
            "artifact": str(path.relative_to(request.out)), "size_bytes": Artifact(path, {}).size_bytes,
            "samples": samples, "parent": parent, "changed": result.changed, "skipped": result.skipped,
        }  # fmt: skip
        if gain is not None:
            settings = self._likely_settings(decision)
            quality = self.scores.file(Artifact(path, settings), request.task.val)
            if request.max_drop is not None and self.drop(quality) > request.max_drop:
                return record("predicted", decision, quality, gain=gain, note=SCORED_NOTE, **said)
        latency, settings = self.files.time_file(path, brief)
        quality = self.scores.file(Artifact(path, settings), request.task.val)
        if any(name in request.target.space().choices for name in decision):
            decision = decision.merge(mixing.placed(self, settings))
        figures = {"latency": latency, "settings": settings, "simulated": False, "net": result.net}
        if request.objectives.need_memory:
            figures["memory_bytes"] = self.files.memory_of(Artifact(path, settings))
        return record("full", decision, quality, **figures, **said)

    def _likely_settings(self, decision: Decision) -> dict[str, Any]:
        """Return the setting that the last file was fastest in that was finished alike; the bar's without one."""
        finished, history = self.history.finishes(decision), self.history
        alike = [t.settings for t in history.of_stage("full") if history.is_finished(t) == finished and t.settings]
        return dict(alike[-1] if alike else self.baseline.artifact.settings)
