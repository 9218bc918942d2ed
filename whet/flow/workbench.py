"""`Workbench`: builds, trains, times and scores candidates of one job, and writes them into its study."""

from __future__ import annotations

import math
import shutil
import time
import traceback
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from whet.compress.repair import Repair, output_error, reference_of
from whet.core.net import Net
from whet.core.passes import Chain, Result, changes
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Stage, Study, Trial
from whet.core.target import Artifact
from whet.core.task import length_of, rows_of, split
from whet.flow.conclude import meant
from whet.flow.failures import Attempt, reason
from whet.flow.folder import Folder
from whet.flow.forecast import NOISE
from whet.flow.job import Job
from whet.flow.limits import resolved
from whet.flow.obvious import in_words
from whet.flow.original import Original, kind, scored, settings_by_name
from whet.flow.recipes import Trainer, Training
from whet.flow.scoring import Scores
from whet.flow.stopwatch import Stopwatch
from whet.flow.timing import Timing, cost_signature
from whet.graph.zeros import numbers_stored
from whet.hardware.device import fingerprint
from whet.hardware.measure import Latency
from whet.hardware.targets import Settings, baselines, inputs_of, setting_name
from whet.report.texts import drop_text, gain_text
from whet.search.predictors.operations import total_operations
from whet.train.fit import FitReport
from whet.train.recalibrate import recalibrate
from whet.train.recipe import Recipe
from whet.train.state import load_state, save_state

BASELINE_SECONDS, BASELINE_SHARE = 6.0, 0.05
"""How long the uncompressed network is timed at first, and at most which share of the budget; the last race times it
again in every setting."""
CANDIDATE_SECONDS, FINISHED_SECONDS = 1.2, 2.0
"""How long the files of a candidate, and a finished one, are timed."""
TIMED_SAMPLES, PAYS = 8, 1.1
MODEL_FILES = ("model.onnx", "model.data")
"""What a target writes for a network; large weights lie beside the graph."""


class Workbench:
    """The tools of one optimization; all that they find out goes into `study`.

    `bars` are the settings of the uncompressed network that candidates have to beat, `bar` is the name of the fastest,
    `reference` its quality on the validation data, in f32 where that runs. Speed-ups are those of `Timing`, measured
    interleaved with the uncompressed network.
    """

    def __init__(self, job: Job, study: Study, run: Run, folder: Folder) -> None:
        self.job, self.study, self.run, self.folder = job, study, run, folder
        self.device = fingerprint()
        self.stopwatch = Stopwatch(own=study.recall("seconds") or {})
        self.original: Original
        self.bars: list[Settings] = []
        self.bar: str = ""
        self.reference: float = 0.0
        self.unfit: dict[str, str] = {}
        self.notes: list[str] = []
        self.prepared_seconds = 0.0
        self.timing: Timing
        self._built: tuple[Decision, Result] | None = None
        self._times: dict[tuple[str, Decision | None], dict[str, Any]] = {}

    def clock(self, what: str) -> AbstractContextManager[None]:
        """Time a kind of step, so that later ones can be planned for, and it is known where the seconds went."""
        return self.stopwatch(what)

    def cost(self, what: str, otherwise: float) -> float:
        """Return the mean seconds of the last steps of a kind."""
        seen = self.stopwatch.lasted.get(what, [])[-5:]
        return sum(seen) / len(seen) if seen else otherwise

    def longest(self, what: str, otherwise: float) -> float:
        """Return the seconds of the longest step of a kind."""
        return max(self.stopwatch.lasted.get(what, [otherwise]))

    # -- the uncompressed network ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write, time and score the uncompressed network in every setting of any runtime."""
        path = self.uncompressed
        memo = self.study.recall("prepared")
        if memo is not None and path.exists():
            self.original = Original(path, **memo)
        else:
            self.claim_model(path.parent)
            seconds = min(BASELINE_SECONDS, BASELINE_SHARE * self.job.budget_seconds)
            began = time.monotonic()
            inputs = inputs_of(self.job.net, self.job.batch)
            found = baselines(self.job.net, self.job.target, path.parent, inputs, seconds=seconds)
            # The first file takes about twice as long as a later one: libraries are loaded with it.
            self.stopwatch.lasted["save"] = [(time.monotonic() - began - seconds) / 2]
            times = {name: latency.latency_ms for name, latency in found.latencies.items()}
            score = partial(self.score_file, batches=self.job.task.val)
            self.original = scored(path, self.job.target, times, found.unfit, score, self._sound)
            self.study.remember("prepared", self.original.to_dict())
        self.reference, self.unfit = self.original.quality, dict(self.original.unfit)
        if self.job.limit is not None:
            self.job = replace(self.job, max_drop=resolved(self.job.limit, self.reference, self.job.task))
        for sentence in meant(self.job, self.reference):
            self.note(sentence)
        self.bars = self.original.bars(self.job.target, self.drop, self.job.max_drop)
        names = [setting_name(s) for s in self.bars]
        self.bar = min(names, key=self.original.latency_ms.__getitem__)
        times = self.original.latency_ms
        self.prepared_seconds = self.run.budget.spent_seconds - self.run.budget.spent_before
        given = self.job.target, self.job.net, self.original.path
        self.timing = Timing(*given, times, self.unfit, names, self.job.batch)

    @property
    def uncompressed(self) -> Path:
        """The file of the uncompressed network."""
        return self.job.out / "uncompressed" / "model.onnx"

    def _sound(self, quality: float, reference: float) -> bool:
        """Say whether a quality is within the limit, beside the original's in f32."""
        task, limit = self.job.task, self.job.max_drop
        if self.job.limit is not None:
            limit = resolved(self.job.limit, reference, task)
        return limit is None or task.loss_of_quality(quality, reference) <= limit

    def drop(self, quality: float) -> float:
        """Return by how much a quality on the validation data is worse than the original's, in the limit's unit."""
        return self.job.task.loss_of_quality(quality, self.reference)

    @property
    def bar_artifact(self) -> Artifact:
        """The uncompressed network in its fastest setting."""
        return self.original.artifact(settings_by_name()[self.bar])

    @property
    def reference_artifact(self) -> Artifact:
        """The uncompressed network in f32, where that runs: what quality is held against."""
        return self.original.artifact(next(s for s in self.bars if kind(s) == self.original.reference))

    # -- building and training -----------------------------------------------------------------------------------

    def structure(self, decision: Decision) -> Result:
        """Apply the structural passes to the trained original and repair what they cut; deterministic.

        Where nothing is trained in place, the last one is kept: what is found good is built again at once.
        """
        if self._built is not None and self._built[0] == decision:
            return self._built[1]
        result = self.repaired(self.cut(decision), self.job.net)
        self._built = (decision, result) if self.job.task.train is None else None
        return result

    def cut(self, decision: Decision) -> Result:
        """Apply the structural passes alone: for weights that come from elsewhere."""
        with self.clock("cut"):
            return Chain(self.job.passes).apply(self.job.net, decision, self.run)

    def repaired(self, result: Result, whole: Net) -> Result:
        """Solve the layers that read what was cut of `whole`; where there are no inputs to solve on, do nothing."""
        if not (self.repairs and result.changed):
            return result
        with self.clock("repair"):
            done = Repair().apply(result.net, Decision(), replace(self.run, teacher=whole))
        said = {"network": f"{len(done.changed)} layers solved on calibration data"} if done.changed else {}
        return result.then(replace(done, changed=changes("repaired", said)))

    @property
    def repairs(self) -> bool:
        """Whether candidates are repaired, which leaves nothing for statistics estimated again to mend.

        Not where they train together: their weights are a supernet's, and probes of repaired cuts, which lose next to
        nothing, promise more than it keeps.
        """
        given = self.job.task.calibration is not None or self.job.task.train is not None
        return given and not self.job.elastic

    def output_error(self, net: Net) -> float:
        """Return the squared error of a cut's outputs on held-out calibration inputs, as a share of their variance."""
        with self.clock("error"):
            return output_error(reference_of(self.job.net, self.run, Repair().samples), net)

    def finish(self, net: Net, decision: Decision) -> Result:
        """Apply the passes that need no training of their own."""
        with self.clock("finish"):
            return Chain(self.job.finishers).apply(net, decision, self.run)

    def rebuild(self, trial: Trial) -> Net:
        """Return the net of a trial with its trained weights."""
        result = self.structure(trial.decision) if trial.state is None else self.cut(trial.decision)
        net = self.finish(result.net, trial.decision).net
        if trial.state is not None:
            load_state(self.job.out / trial.state, net)
        return net

    @cached_property
    def trainer(self) -> Trainer:
        return Trainer(self.study, self.run, NOISE * (self.job.max_drop or 0.0))

    def train(self, net: Net, recipe: Recipe, what: Training, goes_on: bool = False, **limit: Any) -> FitReport:
        """Fine-tune `net` in place with distillation from the original, for `seconds` or `samples`, without harm."""
        with self.clock("train"):
            report = self.trainer(net, recipe, what, goes_on, **limit)
            for part in ("data", "teacher", "check"):
                self.stopwatch.charge(part, getattr(report, f"{part}_seconds"))
        return report

    @property
    def samples_per_second(self) -> float:
        """The speed of the last full training, or while there is none of the last short one, which hints slow down."""
        return self.trainer.last_speed

    @cached_property
    def epoch_samples(self) -> int:
        """The samples of the training data, by their number of batches and the first one; 0 where they do not say."""
        train = self.job.task.train
        count = length_of(train)
        return count * rows_of(split(next(iter(train)))[0]) if train is not None and count else 0

    def recalibrated(self, net: Net) -> Net:
        """Re-estimate batch-norm statistics in place, on training data."""
        if self.job.task.train is not None:
            recalibrate(net, self.job.task.train, samples=512)
        return net

    # -- scores and times ----------------------------------------------------------------------------------------

    @cached_property
    def scores(self) -> Scores:
        return Scores(self.job, self.uncompressed, self.clock)

    def quick(self, net: Net, limit: float | None = None) -> tuple[float, float]:
        """Score `net` and the original in torch, on as many validation samples as it takes."""
        return self.scores.net(net, limit)

    def quick_quality(self, net: Net) -> float:
        """Score `net` in torch on part of the validation data."""
        return self.quick(net)[0]

    def quick_reference(self) -> float:
        """Score the original on the same part."""
        return self.scores.reference

    def score_file(self, artifact: Artifact, batches: Any) -> float:
        return self.scores.file(artifact, batches)

    def claim_model(self, folder: Path) -> None:
        """List the files of a network that is about to be written into a folder of the study's."""
        self.folder.claim(*((folder.relative_to(self.job.out) / name).as_posix() for name in MODEL_FILES))

    def save(self, net: Net, folder: Path) -> Path:
        with self.clock("save"):
            return self.job.target.save(net.eval(), folder)

    def time_net(self, net: Net, finishing: Decision | None) -> dict[str, Any]:
        """Time a candidate as it is and, with `finishing`, with the finishers; keep no file.

        Finishing costs no training, so a candidate is as fast as the faster of the two; where finishers clearly sped up
        the untouched network, only that form is timed. Candidates of equal operations and shapes are timed once.
        Returns the fields `latency`, `settings`, `size_bytes` and `note`.
        """
        key = (cost_signature(net), finishing)
        if key not in self._times:
            self._times[key] = self._time_net(net, finishing)
        return self._times[key]

    def _time_net(self, net: Net, finishing: Decision | None) -> dict[str, Any]:
        folder = self.folder.scratch
        variants = {} if finishing and self.finishing_pays else {"as it is": net}
        if finishing:
            how = f"with {in_words(finishing)}"
            variants[how] = Chain(self.job.finishers).apply(net, finishing, self._hasty).net
        try:
            files = {how: self.save(v, folder / str(i)) for i, (how, v) in enumerate(variants.items())}
            with self.clock("race"):
                timed = self.timing(files, CANDIDATE_SECONDS)
            size = Artifact(files[timed.how], {}).size_bytes
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return {"latency": timed.latency, "settings": timed.settings, "size_bytes": size, "note": f"timed {timed.how}"}

    def size_of(self, net: Net) -> int:
        """Return what a network takes on disk; keep no file."""
        size = Artifact(self.save(net, self.folder.scratch / "sized"), {}).size_bytes
        shutil.rmtree(self.folder.scratch, ignore_errors=True)
        return size

    @property
    def finishing_pays(self) -> bool:
        """Whether the untouched network gained more than `PAYS` by the finishers alone."""
        names = set(self.job.space().choices)
        found = [t.gain for t in self.study.trials if t.stage == "full" and not names & set(t.decision)]
        return max(found, default=0.0) > PAYS

    @cached_property
    def _hasty(self) -> Run:
        """The run with so few calibration inputs that they take no time: what is timed only need not be good."""
        given = self.job.task.calibration if self.job.task.calibration is not None else self.job.task.train
        batch = next(iter(given), None) if given is not None else None
        few = None if batch is None else [(tuple(x[:TIMED_SAMPLES] for x in split(batch)[0]), None)]
        return replace(self.run, task=replace(self.run.task, calibration=few))

    def forecast(self, net: Net) -> dict[str, float]:
        """Return `speedup` and `gain` by multiply-accumulates and parameters: where there is no time to measure."""
        speedup = self._original_operations / max(total_operations(net), 1)
        shrinkage = numbers_stored(self.job.net.module) / max(numbers_stored(net.module), 1)
        return {"speedup": speedup, "gain": self.job.objectives.gain(speedup, shrinkage)}

    @cached_property
    def original_bytes(self) -> int:
        """What the uncompressed network takes on disk."""
        return Artifact(self.uncompressed, {}).size_bytes

    @cached_property
    def _original_operations(self) -> int:
        return total_operations(self.job.net)

    def time_file(self, path: Path, seconds: float = FINISHED_SECONDS) -> tuple[Latency, dict[str, Any]]:
        """Time a saved candidate for so long; return its latency and the setting that it is fastest in."""
        with self.clock("race"):
            timed = self.timing({"file": path}, seconds)
        return timed.latency, timed.settings

    # -- the log -------------------------------------------------------------------------------------------------

    def record(self, stage: Stage, decision: Decision, quality: float, **more: Any) -> Trial:
        """Append a finished trial; a trained net's weights are written first."""
        number, net = self.study.next_number, more.pop("net", None)
        if net is not None:
            state = Path("trials") / f"{number}.safetensors"
            self.folder.claim(state.as_posix())
            save_state(net, self.job.out / state)
            more["state"] = str(state)
        reference, latency = more.pop("reference", self.reference), more.pop("latency", None)
        if latency is not None:
            more |= latency.figures
        gain = more.pop("gain", None) or self._gain(more)
        trial = Trial(
            number, stage, decision, gain=gain, speedup=more.pop("speedup", math.nan), quality=quality,
            drop=self.job.task.loss_of_quality(quality, reference), spent_seconds=self.run.budget.spent_seconds,
            device=self.device.id, **more,
        )  # fmt: skip
        self.study.add(trial)
        self.run.progress(
            {"stage": stage, "trial": number, "best": self.best_line(), "seconds_left": self.run.budget.left_seconds}
        )
        return trial

    def _gain(self, figures: dict[str, Any]) -> float:
        size = figures.get("size_bytes") or self.original_bytes
        return self.job.objectives.gain(figures["speedup"], self.original_bytes / size)

    def attempt(self, stage: str, decision: Decision, parent: int | None = None) -> Attempt:
        """Return a context in which a candidate may fail: that becomes a failed trial, and the search goes on.

        The traceback goes into `.whet/failures.log`.
        """
        return Attempt(partial(self._failed, stage, decision, parent), self.stopwatch.stage(stage))

    def _failed(self, stage: str, decision: Decision, parent: int | None, error: Exception) -> None:
        trial = Trial(
            self.study.next_number, "failed", decision, quality=math.nan, drop=math.nan, speedup=math.nan,
            parent=parent, note=reason(error), attempted=stage, spent_seconds=self.run.budget.spent_seconds,
            device=self.device.id,
        )  # fmt: skip
        self.study.add(trial)
        with (self.folder.own / "failures.log").open("a", encoding="utf-8") as log:
            log.write(f"trial {trial.number}: {decision!r}\n{''.join(traceback.format_exception(error))}\n")
        left = self.run.budget.left_seconds
        self.run.progress({"stage": f"trial {trial.number} failed: {trial.note}", "seconds_left": left})

    def note(self, text: str) -> None:
        """Keep a sentence for the conclusion and the report, once."""
        sentence = f"{text[:1].upper()}{text[1:].rstrip('.')}."
        if sentence not in self.notes:
            self.notes.append(sentence)

    def feasible(self, trial: Trial) -> bool:
        """Say whether a verified trial is within all limits."""
        good = self.job.max_drop is None or trial.drop <= self.job.max_drop
        return good and self.job.objectives.met(trial.speedup, trial.size_bytes)

    def best_line(self) -> str:
        """Say in a few words which verified candidate within the limits is the best so far."""
        good = [t for t in self.study.trials if t.stage == "full" and not t.simulated and self.feasible(t)]
        if not good:
            return "none within the limits yet"
        best = max(good, key=lambda t: t.gain)
        figures = gain_text(best.speedup, best.size_bytes, self.job.objectives.wanted)
        return f"{figures} at drop {drop_text(best.drop, self.job.drop_unit)} (trial {best.number})"
