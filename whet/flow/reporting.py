"""What the manifests and the report say of a delivered front."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.decisions.pareto import hypervolume
from whet.flow import serving
from whet.flow.delivered import DeliveredFront, Member
from whet.flow.evaluator import Evaluator
from whet.flow.loaded import FRONT, remembered
from whet.flow.original import ORIGINAL, kind
from whet.flow.quantities import explained
from whet.flow.recorder import PARAMETERS
from whet.hardware.measure import Latency
from whet.hardware.targets import setting_name
from whet.report.figures import GONE, covers
from whet.report.report import ReportData, render
from whet.report.texts import drop_text
from whet.schedule.mixing import PROFILE
from whet.verify.manifest import number, unit_of

BY_SAMPLES = "95 % interval, by the validation samples alone"
SERVED = "peak of resident memory of a new process with the runtime and NumPy alone, after three calls"


def manifest(evaluator: Evaluator, member: Member) -> dict[str, Any]:
    """Return what the manifest says of a file: its decision and each figure with unit, protocol and device."""
    device, task = evaluator.recorder.device.id, evaluator.request.task
    in_runtime = f"full data set, from the saved file in {member.setting}"
    figures = {
        f"{task.metric_name}_val": number(member.val, task.metric_name, in_runtime, device),
        f"{task.metric_name}_test": number(member.test, task.metric_name, in_runtime + ", once", device),
        "drop": number(member.drop, f"{task.drop} {task.metric_name}", "validation data, against f32", device),
        **{
            name: number(getattr(member, name), f"{task.drop} {task.metric_name}", BY_SAMPLES, device)
            for name in ("drop_low", "drop_high")
            if getattr(member, name) is not None
        },
        "speedup": number(member.speedup, f"ratio to {evaluator.baseline.bar}", member.protocol, device),
        "speedup_low": number(member.speedup_low, f"ratio to {evaluator.baseline.bar}", member.protocol, device),
        "speedup_high": number(member.speedup_high, f"ratio to {evaluator.baseline.bar}", member.protocol, device),
        "latency_ms": number(member.latency_ms, f"ms, batch {evaluator.request.batch}", member.protocol, device),
        "size_bytes": number(member.size_bytes, "bytes", "on disk", device),
        **serving.figures(evaluator, member),
        **({"memory_bytes": number(member.memory_bytes, "bytes", SERVED, device)} if member.memory_bytes else {}),
        **{
            name: number(value, unit_of(name), "against the original in f32", device)
            for name, value in member.agreement.items()
        },
        "max_abs_difference": number(member.max_abs_difference, "output units", "against the original in f32", device),
    }
    return {
        "network": evaluator.request.net.name,
        "task": task.name,
        "decision": member.decision,
        "uncompressed": member.number == ORIGINAL,
        "computed_in": member.computed,
        "integers_computed_in_floats": member.floats,
        "settings": member.settings,
        "figures": figures,
        "device": evaluator.recorder.device.to_dict(),
        "trained_on_samples": member.samples,
    }


def report(evaluator: Evaluator, front: DeliveredFront, latencies: Mapping[str, Latency]) -> None:
    """Write `report.html` from the study and the front, and keep its data in the study."""
    data = _data(evaluator, front, latencies)
    evaluator.study.remember("seconds", data.seconds)
    evaluator.study.remember("spent_seconds", evaluator.run.budget.spent_seconds)
    evaluator.study.remember("report", vars(data))
    evaluator.study.remember(FRONT, remembered(front))
    evaluator.folder.claim(front.report.name)
    render(data, front.report)


def _data(evaluator: Evaluator, front: DeliveredFront, latencies: Mapping[str, Latency]) -> ReportData:
    request, device = evaluator.request, evaluator.recorder.device
    return ReportData(
        title=f"{request.net.name} on {request.task.name}",
        network=request.net.name,
        task=request.task.name,
        metric=front.metric,
        direction=request.task.direction,
        reference_val=front.reference,
        reference_test=front.reference_test,
        max_drop=request.max_drop,
        limit=str(request.limit or ""),
        drop_unit=request.drop_unit,
        notes=_notes(evaluator),
        target=request.target.name,
        device={**device.to_dict(), "description": device.describe()},
        bar=front.bar,
        settings=_settings(evaluator, latencies),
        outside=_outside(evaluator),
        trials=_trials(evaluator, latencies),
        front=[_with_parameters(evaluator, m) for m in front.members],
        nearest=_with_parameters(evaluator, front.nearest) if front.nearest else None,
        layers=list(request.net.layers()),
        skipped=_skipped(evaluator, front),
        hypervolume=_history(evaluator),
        versions=device.to_dict().get("versions", {}),
        command=request.command,
        conclusion=front.conclusion,
        budget_seconds=request.budget_seconds,
        spent_seconds=evaluator.run.budget.spent_seconds,
        unfit=evaluator.baseline.unfit,
        seconds=evaluator.stopwatch.so_far(),
        objectives=request.objectives.wanted,
        layer_times=evaluator.study.recall(PROFILE) or {},
        made=serving.made(evaluator),
        original=_original(evaluator),
        ended=_ended(evaluator),
    )


def _with_parameters(evaluator: Evaluator, member: Member) -> dict[str, Any]:
    """Return a member's fields with the number of parameters of its network, where the study knows it."""
    whole = member.number == ORIGINAL
    known = evaluator.request.net.parameter_count if whole else evaluator.study.recall(PARAMETERS.format(member.number))
    return {**member.to_dict(), "parameters": known}


def _original(evaluator: Evaluator) -> dict[str, Any]:
    """Return what the uncompressed network takes, as far as that was measured."""
    baseline = evaluator.baseline
    return {
        "size_bytes": baseline.size_bytes,
        "parameters": evaluator.request.net.parameter_count,
        "memory_bytes": baseline.memory_bytes or None,
    }


def _ended(evaluator: Evaluator) -> dict[str, Any]:
    """Return what may have ended the search beside its scheduler."""
    request = evaluator.request
    return {
        "interrupted": evaluator.recorder.interrupted,
        "trials": request.trials,
        "epochs": request.epochs,
        "again": request.again is not None,
    }


def _skipped(evaluator: Evaluator, front: DeliveredFront) -> dict[str, str]:
    """Return why layers were left as they are, by what was delivered; a layer that went with its block was not left."""
    delivered = {m.number for m in front.members} | ({front.nearest.number} if front.nearest else set())
    skipped = dict(evaluator.request.skipped)
    for trial in evaluator.study.trials:
        if trial.number in delivered:
            gone = [change.site for change in trial.changed if change.kind == GONE]
            skipped |= {s: why for s, why in trial.skipped.items() if not any(covers(site, s) for site in gone)}
    return skipped


def _notes(evaluator: Evaluator) -> list[str]:
    """Return what quality and the limit mean here, where that was not given but told from the data."""
    request = evaluator.request
    notes = list(filter(None, [request.task.quality_note]))
    if machines := serving.machines(evaluator):
        where = machines["machines"]
        notes.append(f"Timed and scored on {where['timed']}. Trained on {where['trained']}.")
    if request.limit is not None:
        notes.append(f"The limit: {explained(request.limit, evaluator.baseline.reference, request.task)}.")
    return notes


def _settings(evaluator: Evaluator, latencies: Mapping[str, Latency]) -> dict[str, float]:
    """Return the uncompressed network's latency by setting, in ms, from the race that chose the bar.

    Each is the bar's median divided by the setting's ratio to it, so that no drift of the machine comes between them.
    """
    base = latencies[evaluator.baseline.bar].latency_ms
    return {n: base / latencies[n].ratio for n in evaluator.baseline.original.latency_ms if n in latencies}


def _outside(evaluator: Evaluator) -> dict[str, str]:
    """Return why settings that run the uncompressed network are no bars."""
    own = {setting_name(s) for s in evaluator.baseline.bars}
    legal = {setting_name(s): s for s in evaluator.request.target.all_settings()}
    reasons = {}
    original = evaluator.baseline.original
    for name in original.latency_ms.keys() - own:
        quality = original.qualities.get(kind(legal[name])) if name in legal else None
        if name not in legal:
            reasons[name] = f"not of target {evaluator.request.target.name}"
        elif quality is None:
            reasons[name] = "could not be scored"
        else:
            drop = drop_text(evaluator.drop(quality), evaluator.request.drop_unit)
            reasons[name] = f"breaks the limit: drop {drop}"
    return reasons


def _trials(evaluator: Evaluator, latencies: Mapping[str, Latency]) -> list[dict[str, Any]]:
    """Return the trials; those of the last race with its speed-up, and the earlier one beside it."""
    found = []
    for trial in evaluator.study.trials:
        plain = trial.to_dict()
        raced = latencies.get(str(trial.number))
        found.append(plain if raced is None else plain | {"speedup": raced.ratio, "speedup_then": trial.speedup})
    return found


def _history(evaluator: Evaluator) -> list[tuple[float, float]]:
    """Return after each verified trial the area that the front covers between no speed-up and the largest drop."""
    worst = evaluator.request.max_drop if evaluator.request.max_drop is not None else 0.2
    points: list[tuple[float, float]] = []
    history = []
    for trial in evaluator.study.trials:
        if trial.stage == "full" and not trial.simulated:
            points.append((-trial.gain, max(trial.drop, 0.0)))
            history.append((trial.spent_seconds, hypervolume(points, (-1.0, worst))))
    return history


def rewrite_report(folder: Path) -> Path:
    """Write the report of a finished study again from its record."""
    from whet.flow.folder import recorded

    data = recorded(folder, "report")
    return render(ReportData(**data), folder / "report.html")
