"""The outcome of a search in a few sentences: what was gained, or that nothing helps, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whet.flow.front import Member
from whet.flow.original import ORIGINAL
from whet.flow.workbench import Workbench
from whet.hardware.measure import Latency
from whet.hardware.targets import setting_name
from whet.report.texts import drop_text

ELSEWHERE = 1.02
"""How many times faster a setting outside of the target has to be to be named."""


def conclusion(
    bench: Workbench, members: Sequence[Member], nearest: Member | None, latencies: Mapping[str, Latency]
) -> str:
    """State the promise's outcome first, then whatever else the reader has to know."""
    elsewhere = _elsewhere(bench, latencies)
    of = f"of target {bench.job.target.name}" if elsewhere else "of any runtime"
    return " ".join([_outcome(bench, members, nearest, of), *elsewhere, *_failures(bench), *bench.notes])


def _outcome(bench: Workbench, members: Sequence[Member], nearest: Member | None, of: str) -> str:
    task = bench.job.task
    kept = f"the uncompressed network in its fastest setting ({bench.bar})"
    found = [m for m in members if m.number != ORIGINAL]
    if nearest is not None:
        return (
            f"No candidate stayed within a drop of {bench.job.limit} in {task.metric_name}; the nearest, "
            f"trial {nearest.number}, drops {drop_text(nearest.drop, bench.job.drop_unit).lstrip('+')} at "
            f"x{nearest.speedup:.2f}. Nothing helps: {kept} is delivered as it is."
        )
    if not any(t.stage == "full" for t in bench.study.trials):
        return f"No candidate was finished within the budget: {kept} is delivered as it is."
    best = max(found, key=lambda m: m.speedup, default=None)
    if best is None or best.speedup_low <= 1.0:
        better = "" if best is None else f" A file that loses less runs at x{best.speedup:.2f} of it."
        return f"Nothing helps: nothing within the limit beat {kept}, which is delivered as it is.{better}"
    return (
        f"x{best.speedup:.2f} faster than the best uncompressed setting {of} ({bench.bar}), with "
        f"{task.metric_name} {best.val:.4f} against {bench.reference:.4f} on validation data."
    )


def _elsewhere(bench: Workbench, latencies: Mapping[str, Latency]) -> list[str]:
    """Say where the uncompressed network is faster than in the bar: in a runtime that was not asked for, or too bad."""
    own = {setting_name(s) for s in bench.bars}
    others = {n: x for n, x in latencies.items() if n in bench.original.latency_ms and n not in own}
    name = max(others, key=lambda n: others[n].ratio, default="")
    if not name or others[name].ratio <= ELSEWHERE:
        return []
    legal = {setting_name(s) for s in bench.job.target.all_settings()}
    why = "where it breaks the limit" if name in legal else f"which target {bench.job.target.name} leaves out"
    return [f"The uncompressed network is x{others[name].ratio:.2f} faster than that in {name}, {why}."]


def _failures(bench: Workbench) -> list[str]:
    failed = [t for t in bench.study.trials if t.stage == "failed"]
    if not failed:
        return []
    many = f"{len(failed)} candidates failed" if len(failed) > 1 else "A candidate failed"
    return [f"{many}, trial {failed[0].number} with: {failed[0].note.rstrip('.')}."]
