"""What the manifests and the report say of a delivered front."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.decisions.pareto import hypervolume
from whet.flow.front import DeliveredFront, Member
from whet.flow.limits import explained
from whet.flow.original import ORIGINAL, kind
from whet.flow.workbench import Workbench
from whet.hardware.measure import Latency
from whet.hardware.targets import setting_name
from whet.report.report import ReportData, render
from whet.verify.manifest import number, unit_of


def manifest(bench: Workbench, member: Member) -> dict[str, Any]:
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
        "latency_ms": number(member.latency_ms, f"ms, batch {bench.job.batch}", member.protocol, device),
        "size_bytes": number(member.size_bytes, "bytes", "on disk", device),
        **{
            name: number(value, unit_of(name), "against the original in f32", device)
            for name, value in member.agreement.items()
        },
        "max_abs_difference": number(member.max_abs_difference, "output units", "against the original in f32", device),
    }
    return {
        "network": bench.job.net.name,
        "task": task.name,
        "decision": member.decision,
        "uncompressed": member.number == ORIGINAL,
        "settings": member.settings,
        "figures": figures,
        "device": bench.device.to_dict(),
        "trained_on_samples": member.samples,
    }


def report(bench: Workbench, front: DeliveredFront, latencies: Mapping[str, Latency]) -> None:
    """Write `report.html` from the study and the front, and keep its data in the study."""
    delivered = {m.number for m in front.members} | ({front.nearest.number} if front.nearest else set())
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
        limit=str(bench.job.limit or ""),
        drop_unit=bench.job.drop_unit,
        notes=_notes(bench),
        target=bench.job.target.name,
        device={**bench.device.to_dict(), "description": bench.device.describe()},
        bar=front.bar,
        settings=_settings(bench, latencies),
        outside=_outside(bench),
        trials=_trials(bench, latencies),
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
        seconds=bench.stopwatch.so_far(),
        objectives=bench.job.objectives.wanted,
    )
    bench.study.remember("seconds", data.seconds)
    bench.study.remember("spent_seconds", bench.run.budget.spent_seconds)
    bench.study.remember("report", vars(data))
    bench.folder.claim(front.report.name)
    render(data, front.report)


def _notes(bench: Workbench) -> list[str]:
    """Return what quality and the limit mean here, where that was not given but told from the data."""
    job = bench.job
    meant = [] if job.limit is None else [f"The limit: {explained(job.limit, bench.reference, job.task)}."]
    return [*filter(None, [job.task.quality_note]), *meant]


def _settings(bench: Workbench, latencies: Mapping[str, Latency]) -> dict[str, float]:
    """Return the uncompressed network's latency by setting, in ms, from the race that chose the bar.

    Each is the bar's median divided by the setting's ratio to it, so that no drift of the machine comes between them.
    """
    base = latencies[bench.bar].latency_ms
    return {n: base / latencies[n].ratio for n in bench.original.latency_ms if n in latencies}


def _outside(bench: Workbench) -> dict[str, str]:
    """Return why settings that run the uncompressed network are no bars."""
    own = {setting_name(s) for s in bench.bars}
    legal = {setting_name(s): s for s in bench.job.target.all_settings()}
    reasons = {}
    for name in bench.original.latency_ms.keys() - own:
        quality = bench.original.qualities.get(kind(legal[name])) if name in legal else None
        broken = f"breaks the limit: drop {bench.drop(quality):.4f}" if quality is not None else "could not be scored"
        reasons[name] = broken if name in legal else f"not of target {bench.job.target.name}"
    return reasons


def _trials(bench: Workbench, latencies: Mapping[str, Latency]) -> list[dict[str, Any]]:
    """Return the trials; those of the last race with its speed-up, and the earlier one beside it."""
    found = []
    for trial in bench.study.trials:
        plain = trial.to_dict()
        raced = latencies.get(str(trial.number))
        found.append(plain if raced is None else plain | {"speedup": raced.ratio, "speedup_then": trial.speedup})
    return found


def _history(bench: Workbench) -> list[tuple[float, float]]:
    """Return after each verified trial the area that the front covers between no speed-up and the largest drop."""
    worst = bench.job.max_drop if bench.job.max_drop is not None else 0.2
    points: list[tuple[float, float]] = []
    history = []
    for trial in bench.study.trials:
        if trial.stage == "full" and not trial.simulated:
            points.append((-trial.gain, max(trial.drop, 0.0)))
            history.append((trial.spent_seconds, hypervolume(points, (-1.0, worst))))
    return history


def rewrite_report(folder: Path) -> Path:
    """Write the report of a finished study again from its record."""
    from whet.core.study import recorded

    data = recorded(folder, "report")
    return render(ReportData(**data), folder / "report.html")
