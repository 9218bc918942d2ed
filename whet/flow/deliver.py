"""Delivering: the front's files, verified in their runtime, timed together, with manifests and the report."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from whet.core.objectives import Figures
from whet.core.space import Decision
from whet.core.study import Trial
from whet.core.target import Artifact
from whet.decisions.pareto import non_dominated
from whet.flow import serving
from whet.flow.conclude import conclusion, is_better
from whet.flow.delivered import DeliveredFront, Member
from whet.flow.evaluator import Evaluator
from whet.flow.failures import ends_the_run, reason
from whet.flow.inspecting import UNKNOWN, inspected
from whet.flow.original import ORIGINAL, kind, settings_by_name
from whet.flow.reporting import manifest, report
from whet.hardware.measure import Latency
from whet.hardware.race import alike, race
from whet.hardware.targets import Settings, inputs_of, setting_name
from whet.verify.manifest import write_manifest

RUNNERS = 10
OVER = 1.1
"""From how many times the budget on it is said that, and why, it took longer."""
SECONDS_EACH = 1.0
RACE_SHARE = 0.05
"""How long a file is timed in each setting in the last race, and how much of a short budget a setting of each takes."""


def deliver(evaluator: Evaluator) -> DeliveredFront:
    """Verify, time and write the front of all that the study holds; write the report.

    Ctrl-C ends the measuring: the front and the report are then of the figures that there are. A second one stops at
    once.
    """
    delivery = Delivery(evaluator)
    try:
        return delivery.run()
    except KeyboardInterrupt:
        delivery.brief = True
        evaluator.recorder.note("the delivery was interrupted: what had not been measured by then is missing")
        return delivery.run()


@dataclass
class LastRace:
    """Latencies of the last race by `str(trial.number)` and by the uncompressed network's settings; settings alike."""

    bar: str
    latencies: dict[str, Latency]
    settings: dict[str, Settings]


@dataclass
class Delivery:
    """One delivery; with `brief` it measures nothing more and takes what is known."""

    evaluator: Evaluator
    brief: bool = False
    timed: LastRace | None = None

    def run(self) -> DeliveredFront:
        """Time, score and copy what is within the limits; what was done before an interruption stays done."""
        evaluator, began = self.evaluator, self.evaluator.run.budget.spent_seconds
        self.say("delivering: the last race")
        verified = [t for t in evaluator.study.trials if t.stage == "full" and not t.simulated]
        feasible = [t for t in verified if evaluator.request.goal.feasible(t)]
        outside = min(verified, key=lambda t: (excess(evaluator, t), t.drop), default=None) if not feasible else None
        timed = self.race(_runners(feasible) or ([outside] if outside else []))
        evaluator.baseline.bar = timed.bar
        self.say("delivering: the files of the front")
        original = self.original(timed)
        raced = [t for t in _runners(feasible) if str(t.number) in timed.latencies]
        chosen = [m for t in self.on_the_front(raced, timed.latencies, original) if (m := self.member(t, timed))]
        whole = [self.tested(m) for m in self.kept(original, chosen)]
        members = sorted([*chosen, *whole], key=lambda m: -m.gain)
        members = serving.placed(evaluator, members, self.brief)
        nearest = self.member(outside, timed) if outside and str(outside.number) in timed.latencies else None
        reference = self.test_of_reference()
        self.write(members, serving.shared(evaluator, original, reference))
        _count_budget(evaluator, began, self.brief)
        front = DeliveredFront(
            folder=evaluator.request.out,
            members=tuple(members),
            nearest=nearest,
            bar=timed.bar,
            bar_artifact=evaluator.baseline.artifact,
            metric=evaluator.request.task.metric_name,
            reference=evaluator.baseline.reference,
            reference_test=reference,
            conclusion=conclusion(evaluator, members, nearest, timed.latencies),
            report=evaluator.request.out / "report.html",
            drop_unit=evaluator.request.drop_unit,
            objectives=evaluator.request.objectives.wanted,
            device=evaluator.recorder.device.to_dict(),
            met=any(m.number != ORIGINAL and is_better(m, evaluator) for m in members),
        )
        report(evaluator, front, timed.latencies)
        return front

    def say(self, stage: str) -> None:
        """Tell the user which part of the delivery begins."""
        self.evaluator.run.progress({"stage": stage, "seconds_left": self.evaluator.run.budget.left_seconds})

    # -- times -----------------------------------------------------------------------------------------------------

    def race(self, trials: list[Trial]) -> LastRace:
        """Time all trials with the uncompressed network in each of its settings; the fastest of these is the bar."""
        if self.timed is None:
            try:
                self.timed = self._searched(trials) if self.brief else self._raced(trials)
            except Exception as error:
                if ends_the_run(error):
                    raise
                self.evaluator.recorder.note(
                    f"the last race failed, speed-ups are those of the search: {reason(error)}"
                )
                self.timed = self._searched(trials)
        return self.timed

    def _raced(self, trials: list[Trial]) -> LastRace:
        evaluator, target = self.evaluator, self.evaluator.request.target
        bars = {setting_name(s) for s in evaluator.baseline.bars}
        every = {n: s for n, s in settings_by_name(target).items() if n in evaluator.baseline.original.latency_ms}
        files = {name: (evaluator.baseline.original.path, [settings]) for name, settings in every.items()}
        files |= {str(t.number): (evaluator.request.out / str(t.artifact), alike(target, t.settings)) for t in trials}
        with evaluator.stopwatch("last race"):
            seconds = min(SECONDS_EACH, RACE_SHARE * evaluator.request.budget_seconds / len(files))
            raced = race(
                target,
                inputs_of(evaluator.request.net, evaluator.request.batch),
                files,
                bars,
                seconds,
                evaluator.request.batch,
            )
        for name in files.keys() - raced.latencies.keys():
            evaluator.recorder.note(
                f"{name} was not timed in the last race: {raced.errors.get(name, 'it does not open')}"
            )
        return LastRace(raced.bar, raced.latencies, raced.settings)

    def _searched(self, trials: list[Trial]) -> LastRace:
        """Return what the search measured, each candidate when it was tried."""
        evaluator = self.evaluator
        device, protocol = evaluator.recorder.device.id, "while the search went on, each file when it was tried"
        base = evaluator.baseline.original.latency_ms[evaluator.baseline.bar]
        latencies = {
            name: Latency(name, ms, base / ms, base / ms, base / ms, 0, protocol, device)
            for name, ms in evaluator.baseline.original.latency_ms.items()
        }
        for t in trials:
            figures = t.latency_ms, t.speedup, t.speedup_low, t.speedup_high, 0, t.protocol, t.device
            latencies[str(t.number)] = Latency(str(t.number), *figures)
        return LastRace(evaluator.baseline.bar, latencies, {str(t.number): t.settings for t in trials})

    # -- members ---------------------------------------------------------------------------------------------------

    def original(self, timed: LastRace) -> Member:
        """Return the uncompressed network in its fastest setting, a candidate like any other; not yet on test data."""
        settings = settings_by_name(self.evaluator.request.target)[timed.bar]
        quality = self.evaluator.baseline.original.qualities[kind(settings)]
        trial = Trial(
            ORIGINAL, "full", Decision(), quality, self.evaluator.drop(quality), 1.0,
            simulated=False, settings=settings, device=self.evaluator.recorder.device.id,
            artifact=self.evaluator.baseline.original.path.relative_to(self.evaluator.request.out).as_posix(),
            memory_bytes=self.evaluator.baseline.memory_bytes,
        )  # fmt: skip
        return self._measured(trial, timed.latencies[timed.bar], settings)

    def member(self, trial: Trial, timed: LastRace) -> Member | None:
        """Return a trial with all that is said of a file, or None where it cannot be scored."""
        try:
            latency, settings = timed.latencies[str(trial.number)], timed.settings[str(trial.number)]
            return self.tested(self._measured(trial, latency, settings))
        except Exception as error:
            if ends_the_run(error):
                raise
            self.evaluator.recorder.note(f"trial {trial.number} was not delivered: {reason(error)}")
            return None

    def _measured(self, trial: Trial, latency: Latency, settings: Settings) -> Member:
        evaluator = self.evaluator
        artifact = Artifact(evaluator.request.out / str(trial.artifact), settings)
        served = Figures(latency.ratio, artifact.size_bytes, trial.memory_bytes)
        return Member(
            number=trial.number,
            path=str(trial.artifact),
            decision=dict(trial.decision),
            settings=settings,
            setting=setting_name(settings),
            val=trial.quality,
            drop=trial.drop,
            test=None,
            **latency.figures,
            size_bytes=artifact.size_bytes,
            **(UNKNOWN if self.brief else inspected(evaluator, artifact)),
            samples=trial.samples,
            memory_bytes=trial.memory_bytes,
            gain=evaluator.request.objectives.gain(served, evaluator.baseline.figures),
        )

    def tested(self, member: Member) -> Member:
        """Return a member with its quality on the test data: what is not delivered never sees them."""
        request = self.evaluator.request
        artifact = Artifact(request.out / member.path, member.settings)
        key = f"test:{member.number}" if member.number != ORIGINAL else f"test:{kind(member.settings)}"
        test, whole = self.once(key, lambda: self.test(artifact)), self.test_of_reference()
        drop = None if test is None or whole is None else request.task.loss_of_quality(test, whole)
        return replace(member, test=test, test_drop=drop)

    def test_of_reference(self) -> float | None:
        """Return the original's quality on the test data, looked at once."""
        score: float | None = self.once("test:reference", lambda: self.test(self.evaluator.baseline.reference_artifact))
        return score

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return a remembered value: the test data are touched once per file, however often a study is resumed."""
        value = self.evaluator.study.recall(key)
        if value is None and not self.brief:
            value = compute()
            self.evaluator.study.remember(key, value)
        return value

    def test(self, artifact: Artifact) -> float | None:
        """Return the quality of a file on the test data; None where there are none."""
        return (
            None
            if self.evaluator.request.task.test is None
            else self.evaluator.scores.file(artifact, self.evaluator.request.task.test)
        )

    # -- the front -------------------------------------------------------------------------------------------------

    def on_the_front(self, trials: list[Trial], latencies: dict[str, Latency], original: Member) -> list[Trial]:
        """Return the trials that nothing beats in what is wanted and in drop, the uncompressed network included.

        What is no better than it in any objective, by the lower quartile of the ratios of latencies, has to lose less.
        """
        objectives, whole = self.evaluator.request.objectives, self.evaluator.baseline.figures
        timed = [(t, latencies[str(t.number)]) for t in trials]
        surely = {t.number: Figures(x.ratio_low, t.size_bytes, t.memory_bytes) for t, x in timed}
        better = {n: any(ratio > 1 for ratio in objectives.ratios(served, whole)) for n, served in surely.items()}
        rivals = [(t, x) for t, x in timed if better[t.number] or t.drop < original.drop]
        points = [(*objectives.costs(replace(t, speedup=x.ratio)), t.drop) for t, x in rivals]
        if objectives.met(whole):
            points.insert(0, (*objectives.costs(whole), original.drop))
        ahead = len(points) - len(rivals)
        return [rivals[i - ahead][0] for i in non_dominated(points) if i >= ahead]

    def kept(self, original: Member, chosen: list[Member]) -> list[Member]:
        """Return the uncompressed network where no chosen one is as good in everything, and it is within the limits.

        Where none is chosen it is there in any case.
        """
        objectives, whole = self.evaluator.request.objectives, self.evaluator.baseline.figures
        as_good = [m for m in chosen if all(ratio >= 1 for ratio in objectives.ratios(m, whole))]
        beaten = any(m.drop <= original.drop for m in as_good)
        broken = not objectives.met(whole)
        return [] if chosen and (beaten or broken) else [original]

    # -- files -----------------------------------------------------------------------------------------------------

    def write(self, members: list[Member], shared: dict[str, Any]) -> None:
        """Write `front/N/{model.onnx, manifest.json}` and what serves each, in place of an older front's files."""
        evaluator = self.evaluator
        folder = evaluator.folder.scratch / "front"
        shutil.rmtree(folder, ignore_errors=True)
        for rank, member in enumerate(members):
            place = folder / str(rank)
            place.mkdir(parents=True)
            source = evaluator.request.out / member.path
            for side in source.parent.iterdir():
                if side.name.startswith(source.stem):
                    shutil.copy2(side, place / side.name)
            also = serving.beside(evaluator, member, place)
            write_manifest(place, **manifest(evaluator, member), **shared, **also)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        names = [f"front/{file.relative_to(folder).as_posix()}" for file in files]
        evaluator.folder.claim(*names)
        evaluator.folder.remove("front/")
        for file, name in zip(files, names, strict=True):
            target = evaluator.request.out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
        shutil.rmtree(folder, ignore_errors=True)


def excess(evaluator: Evaluator, trial: Trial) -> float:
    """Return by how much a trial breaks the limits, in shares of each."""
    limit = evaluator.request.max_drop
    over = 0.0 if limit is None else max(0.0, trial.drop - limit) / max(limit, 1e-9)
    return over + evaluator.request.objectives.violation(trial)


def _count_budget(evaluator: Evaluator, began: float, is_brief: bool) -> None:
    """Remember what a delivery costs; keep for the conclusion why the search took longer than it was to take."""
    budget, spent, study = evaluator.request.budget_seconds, evaluator.run.budget.spent_seconds, evaluator.study
    if not is_brief:
        study.remember("delivery_seconds", spent - began)
        study.remember("delivered_budget", None if math.isinf(budget) else budget)
    if spent > OVER * budget and study.spent_seconds < budget:
        evaluator.recorder.note(
            f"it took {spent:.0f} s in place of {budget:.0f}: writing, timing and scoring the uncompressed network "
            f"took {evaluator.baseline.seconds:.0f} s of that, the delivery {spent - began:.0f} s"
        )


def _runners(feasible: list[Trial]) -> list[Trial]:
    """Return the trials that the last race is run between: those of most gain so far and of the smallest drop.

    Speed-ups from the search were taken at different times, and are not what the front is judged by.
    """
    best = sorted(feasible, key=lambda t: -t.gain)[: RUNNERS - 2]
    closest = sorted(feasible, key=lambda t: t.drop)[:2]
    return sorted({t.number: t for t in best + closest}.values(), key=lambda t: t.number)
