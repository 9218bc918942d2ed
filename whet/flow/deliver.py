"""Delivering: the front's files, verified in their runtime, timed together, with manifests and the report."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from whet.core.front import hypervolume, non_dominated
from whet.core.study import Trial
from whet.core.target import Artifact
from whet.flow.front import DeliveredFront, Member
from whet.flow.workbench import Workbench
from whet.hardware.measure import Latency
from whet.hardware.race import alike, race, uncompressed
from whet.hardware.targets import inputs_of, setting_name
from whet.report.report import ReportData, render
from whet.verify.equivalence import Agreement, agreement
from whet.verify.manifest import number, write_manifest

RUNNERS = 10
SECONDS_EACH = 1.0


def deliver(bench: Workbench) -> DeliveredFront:
    """Verify, time and write the front of all that the study holds; write the report."""
    verified = [t for t in bench.study.trials if t.stage == "full" and not t.simulated]
    feasible = [t for t in verified if bench.feasible(t)]
    outside = min(verified, key=lambda t: t.drop, default=None) if not feasible else None
    latencies, raced = _race(bench, _runners(feasible) or ([outside] if outside else []))
    ratios = [(-latencies[str(t.number)].ratio, t.drop) for t in raced]
    measured = [raced[i] for i in non_dominated(ratios)]
    test_reference = _once(bench, "test:reference", lambda: _test(bench, bench.reference_artifact))
    reference_outputs = bench.outputs_of(bench.reference_artifact, bench.job.task.val)[0] if measured else None
    members = [_member(bench, t, latencies[str(t.number)], reference_outputs) for t in measured]
    members.sort(key=lambda m: -m.speedup)
    if feasible:
        members = [replace(m, delivered=str(bench.job.out / "front" / str(i))) for i, m in enumerate(members)]
    _write(bench, members if feasible else [])
    conclusion = _conclusion(bench, members if feasible else [], members[0] if outside else None)
    delivered = DeliveredFront(
        folder=bench.job.out,
        members=tuple(members if feasible else []),
        nearest=members[0] if outside else None,
        bar=bench.bar,
        bar_artifact=bench.bar_artifact,
        metric=bench.job.task.metric_name,
        reference=bench.reference,
        reference_test=test_reference,
        conclusion=conclusion,
        report=bench.job.out / "report.html",
        met=bool(feasible),
    )
    _report(bench, delivered)
    return delivered


def _runners(feasible: list[Trial]) -> list[Trial]:
    """Return the trials that the last race is run between: the fastest so far and those of the smallest drop.

    Speed-ups from the search were taken at different times, and are not what the front is judged by.
    """
    fastest = sorted(feasible, key=lambda t: -t.speedup)[: RUNNERS - 2]
    closest = sorted(feasible, key=lambda t: t.drop)[:2]
    return sorted({t.number: t for t in fastest + closest}.values(), key=lambda t: t.number)


def _race(bench: Workbench, trials: list[Trial]) -> tuple[dict[str, Latency], list[Trial]]:
    """Time all members with the bar; return latencies by number, and the trials in the settings that suit them."""
    if not trials:
        return {}, []
    target = bench.job.target
    files = {str(t.number): (bench.job.out / str(t.artifact), alike(target, t.settings)) for t in trials}
    bar = uncompressed(bench.original)
    raced = race(target, inputs_of(bench.job.net), bar | files, bar, SECONDS_EACH)
    bench.bar = setting_name(raced.settings[raced.bar])
    return raced.latencies, [replace(t, settings=raced.settings[str(t.number)]) for t in trials]


def _once(bench: Workbench, key: str, compute: Any) -> Any:
    """Return a remembered value: the test data are touched once per file, however often a study is resumed."""
    value = bench.study.recall(key)
    if value is None:
        value = compute()
        bench.study.remember(key, value)
    return value


def _test(bench: Workbench, artifact: Artifact) -> float | None:
    return None if bench.job.task.test is None else bench.score_file(artifact, bench.job.task.test)


def _member(bench: Workbench, trial: Trial, latency: Latency, reference: Any) -> Member:
    artifact = Artifact(bench.job.out / str(trial.artifact), trial.settings)
    test = _once(bench, f"test:{trial.number}", lambda: _test(bench, artifact))
    same: Agreement = agreement(bench.outputs_of(artifact, bench.job.task.val)[0], reference)
    return Member(
        number=trial.number,
        path=str(trial.artifact),
        decision=dict(trial.decision),
        settings=trial.settings,
        setting=setting_name(trial.settings),
        val=trial.quality,
        drop=trial.drop,
        test=test,
        speedup=latency.ratio,
        speedup_low=latency.ratio_low,
        speedup_high=latency.ratio_high,
        latency_ms=latency.latency_ms,
        size_bytes=artifact.size_bytes,
        top1_agreement=same.top1_agreement,
        max_abs_difference=same.max_abs_difference,
        relative_difference=same.relative_difference,
        samples=trial.samples,
        protocol=latency.protocol,
    )


def _write(bench: Workbench, members: list[Member]) -> None:
    """Write `front/N/{model.onnx, manifest.json}`, fastest first, in place of an older front's files."""
    folder = bench.folder.scratch / "front"
    shutil.rmtree(folder, ignore_errors=True)
    for rank, member in enumerate(members):
        place = folder / str(rank)
        place.mkdir(parents=True)
        source = bench.job.out / member.path
        for side in source.parent.iterdir():
            if side.name.startswith(source.stem):
                shutil.copy2(side, place / side.name)
        write_manifest(place, **_manifest(bench, member))
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    names = [f"front/{file.relative_to(folder).as_posix()}" for file in files]
    bench.folder.claim(*names)
    bench.folder.remove("front/")
    (bench.job.out / "front").mkdir(exist_ok=True)
    for file, name in zip(files, names, strict=True):
        place = bench.job.out / name
        place.parent.mkdir(exist_ok=True)
        os.replace(file, place)
    shutil.rmtree(folder, ignore_errors=True)


def _conclusion(bench: Workbench, members: list[Member], nearest: Member | None) -> str:
    """State the promise's outcome in one sentence."""
    task = bench.job.task
    if nearest is not None:
        return (
            f"No candidate stayed within a drop of {bench.job.max_drop} in {task.metric_name}; the nearest, "
            f"trial {nearest.number}, drops {nearest.drop:.4f} at x{nearest.speedup:.2f}."
        )
    best = max(members, key=lambda m: m.speedup, default=None)
    if best is None:
        return "No candidate was finished within the budget."
    if best.speedup_low <= 1.0:
        return (
            f"Nothing beat the uncompressed network in its fastest setting ({bench.bar}); the best candidate within "
            f"the limit runs at x{best.speedup:.2f} of it."
        )
    return (
        f"x{best.speedup:.2f} faster than the best uncompressed setting of any runtime ({bench.bar}), with "
        f"{task.metric_name} {best.val:.4f} against {bench.reference:.4f} on validation data."
    )


def _manifest(bench: Workbench, member: Member) -> dict[str, Any]:
    """Return what the manifest says of a file: its decision and each figure with unit, protocol and device."""
    device, task = bench.device.id, bench.job.task
    in_runtime = f"full data set, from the saved file in {member.setting}"
    figures = {
        f"{task.metric_name}_val": number(member.val, task.metric_name, in_runtime, device),
        f"{task.metric_name}_test": number(member.test, task.metric_name, in_runtime + ", once", device),
        "drop": number(member.drop, f"{task.drop} {task.metric_name}", "validation data, against f32", device),
        "speedup": number(member.speedup, f"ratio to {bench.bar}", member.protocol, device),
        "speedup_low": number(member.speedup_low, f"ratio to {bench.bar}", member.protocol, device),
        "speedup_high": number(member.speedup_high, f"ratio to {bench.bar}", member.protocol, device),
        "latency_ms": number(member.latency_ms, "ms, batch 1", member.protocol, device),
        "size_bytes": number(member.size_bytes, "bytes", "on disk", device),
        "top1_agreement": number(member.top1_agreement, "share of rows", "against the original in f32", device),
        "max_abs_difference": number(member.max_abs_difference, "output units", "against the original in f32", device),
    }
    return {
        "network": bench.job.net.name,
        "task": task.name,
        "decision": member.decision,
        "settings": member.settings,
        "figures": figures,
        "device": bench.device.to_dict(),
        "trained_on_samples": member.samples,
    }


def _report(bench: Workbench, front: DeliveredFront) -> None:
    """Write `report.html` from the study and the front, and keep its data in the study."""
    memo = bench.study.recall("prepared")
    delivered = {m.number for m in front.members} or ({front.nearest.number} if front.nearest else set())
    skipped = dict(bench.job.skipped)
    for trial in bench.study.trials:
        if trial.number in delivered:
            skipped.update(trial.skipped)
    data = ReportData(
        title=f"{bench.job.net.name} on {bench.job.task.name}",
        network=bench.job.net.name,
        task=bench.job.task.name,
        metric=front.metric,
        direction=bench.job.task.direction,
        reference_val=front.reference,
        reference_test=front.reference_test,
        max_drop=bench.job.max_drop,
        target=bench.job.target.name,
        device={**bench.device.to_dict(), "description": bench.device.describe()},
        bar=front.bar,
        settings=memo["latency_ms"],
        trials=[t.to_dict() for t in bench.study.trials],
        front=[m.to_dict() for m in front.members],
        nearest=front.nearest.to_dict() if front.nearest else None,
        layers=list(bench.job.net.layers()),
        skipped=skipped,
        hypervolume=_history(bench),
        versions=bench.device.to_dict().get("versions", {}),
        command=bench.job.command,
        conclusion=front.conclusion,
        budget_seconds=bench.job.budget_seconds,
        spent_seconds=bench.run.budget.spent_seconds,
        unfit=bench.unfit,
    )
    bench.study.remember("spent_seconds", bench.run.budget.spent_seconds)
    bench.study.remember("report", vars(data))
    bench.folder.claim(front.report.name)
    render(data, front.report)


def _history(bench: Workbench) -> list[tuple[float, float]]:
    """Return after each verified trial the area that the front covers between no speed-up and the largest drop."""
    worst = bench.job.max_drop if bench.job.max_drop is not None else 0.2
    points: list[tuple[float, float]] = []
    history = []
    for trial in bench.study.trials:
        if trial.stage == "full" and not trial.simulated:
            points.append((-trial.speedup, max(trial.drop, 0.0)))
            history.append((trial.spent_seconds, hypervolume(points, (-1.0, worst))))
    return history


def rewrite_report(folder: Path) -> Path:
    """Write the report of a finished study again from its record."""
    from whet.core.study import recorded

    data = recorded(folder, "report")
    return render(ReportData(**data), folder / "report.html")
