"""The outcome of a search in a few sentences: what was gained, or that nothing helps, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from whet.core.objectives import Figures
from whet.flow.delivered import Member
from whet.flow.original import ORIGINAL
from whet.flow.quantities import explained, scale_of
from whet.flow.request import Request
from whet.hardware.measure import Latency
from whet.hardware.targets import setting_name
from whet.report.texts import drop_text, size_text

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

NAMED = 3
"""How many layers are named of more."""
ELSEWHERE = 1.02
"""How many times faster a setting outside of the target has to be to be named."""


def conclusion(
    evaluator: Evaluator, members: Sequence[Member], nearest: Member | None, latencies: Mapping[str, Latency]
) -> str:
    """State the promise's outcome first, then whatever else the reader has to know."""
    elsewhere = _elsewhere(evaluator, latencies)
    of = f"of target {evaluator.request.target.name}" if elsewhere else "of any runtime"
    first, notes = _outcome(evaluator, members, nearest, of), evaluator.recorder.notes
    return " ".join([first, *elsewhere, *_doubts(evaluator, members), *_failures(evaluator), *notes])


def _doubts(evaluator: Evaluator, members: Sequence[Member]) -> list[str]:
    """Say where the best file is not what it seems: a limit kept by chance or broken on test data, unused integers."""
    limit, unit = evaluator.request.max_drop, evaluator.request.drop_unit
    best = max((m for m in members if m.number != ORIGINAL), key=lambda m: m.gain, default=None)
    found = []
    if best is not None and best.floats:
        named = ", ".join(best.floats[:NAMED]) + (f" and {len(best.floats) - NAMED} more" * (len(best.floats) > NAMED))
        found.append(f"In {best.setting} layers whose weights and inputs are integers are computed in floats: {named}.")
    if limit is None or best is None:
        return found
    if best.test_drop is not None and best.test_drop > limit:
        shown = drop_text(best.test_drop, unit), drop_text(limit, unit).lstrip("+")
        found.append(f"On the test data its drop is {shown[0]}, beyond the limit of {shown[1]}.")
    if best.drop_low is not None and best.drop_high is not None and best.drop_high > limit:
        low, high, drop = (drop_text(x, unit) for x in (best.drop_low, best.drop_high, best.drop))
        found.append(f"Its drop of {drop} lies between {low} and {high} (95 %, by the validation samples alone).")
    return found


def _outcome(evaluator: Evaluator, members: Sequence[Member], nearest: Member | None, of: str) -> str:
    task = evaluator.request.task
    kept = f"the uncompressed network in its fastest setting ({evaluator.baseline.bar})"
    found = [m for m in members if m.number != ORIGINAL]
    if nearest is not None:
        return (
            f"No candidate stayed within {_limits(evaluator)}; the nearest, trial {nearest.number}, drops "
            f"{drop_text(nearest.drop, evaluator.request.drop_unit).lstrip('+')} at x{nearest.speedup:.2f} and "
            f"{size_text(nearest.size_bytes)}. Nothing helps: {kept} is delivered as it is."
        )
    if not any(t.stage == "full" for t in evaluator.study.trials):
        return f"No candidate was finished within the budget: {kept} is delivered as it is."
    best = max(found, key=lambda m: m.gain, default=None)
    if best is None or not is_better(best, evaluator):
        better = "" if best is None else f" A file that loses less runs at x{best.speedup:.2f} of it."
        return f"Nothing helps: nothing within the limit beat {kept}, which is delivered as it is.{better}"
    faster = "faster than" if best.speedup >= 1 else "the speed of"
    gains = {
        "speed": f"x{best.speedup:.2f} {faster} the best uncompressed setting {of} ({evaluator.baseline.bar})",
        "size": f"x{evaluator.baseline.size_bytes / best.size_bytes:.2f} smaller than the uncompressed file: "
        f"{size_text(best.size_bytes)} against {size_text(evaluator.baseline.size_bytes)}",
        "memory": f"{size_text(best.memory_bytes)} of memory against {size_text(evaluator.baseline.memory_bytes)}",
    }
    quality = f"with {task.metric_name} {best.val:.4f} against {evaluator.baseline.reference:.4f} on validation data"
    wanted = evaluator.request.objectives.wanted
    beside = "" if "speed" in wanted else f", at x{best.speedup:.2f} of its speed in {evaluator.baseline.bar}"
    return f"{' and '.join(gains[name] for name in wanted)}{beside}, {quality}."


def is_better(member: Member, evaluator: Evaluator) -> bool:
    """Say whether a file is measurably faster than the uncompressed network, or smaller, whichever is wanted."""
    surely = Figures(member.speedup_low, member.size_bytes, member.memory_bytes)
    return any(ratio > 1 for ratio in evaluator.request.objectives.ratios(surely, evaluator.baseline.figures))


def meant(request: Request, reference: float) -> list[str]:
    """Say on which scale the limit was read, what stands for labels, and what the distillation compares."""
    task, recipe, found = request.task, request.recipe, list[str]()
    if request.limit is not None and (scale_of(reference, task) != 1 or task.drop == "relative"):
        found.append(f"the limit is {explained(request.limit, reference, task)}")
    if task.quality_note:
        found.append(task.quality_note)
    how = recipe.comparison(recipe.kinds(task.kinds)) if recipe.distillation > 0 and task.train is not None else ""
    if how not in ("", "kl over axis 1"):
        found.append(f"training compares outputs with the original's by {how}")
    return found


def _limits(evaluator: Evaluator) -> str:
    """Return all limits in words."""
    objectives, given = evaluator.request.objectives, []
    if evaluator.request.limit is not None:
        given.append(f"a drop of {evaluator.request.limit} in {evaluator.request.task.metric_name}")
    if not math.isinf(objectives.most_bytes):
        given.append(f"{size_text(objectives.most_bytes)}")
    if not math.isinf(objectives.most_memory_bytes):
        given.append(f"{size_text(objectives.most_memory_bytes)} of memory")
    if objectives.least_speedup:
        given.append(f"x{objectives.least_speedup:g} of the speed")
    return " and ".join(given)


def _elsewhere(evaluator: Evaluator, latencies: Mapping[str, Latency]) -> list[str]:
    """Say where the uncompressed network is faster than in the bar: in a runtime that was not asked for, or too bad."""
    own = {setting_name(s) for s in evaluator.baseline.bars}
    others = {n: x for n, x in latencies.items() if n in evaluator.baseline.original.latency_ms and n not in own}
    name = max(others, key=lambda n: others[n].ratio, default="")
    if not name or others[name].ratio <= ELSEWHERE:
        return []
    legal = {setting_name(s) for s in evaluator.request.target.all_settings()}
    why = "where it breaks the limit" if name in legal else f"which target {evaluator.request.target.name} leaves out"
    return [f"The uncompressed network is x{others[name].ratio:.2f} faster than that in {name}, {why}."]


def _failures(evaluator: Evaluator) -> list[str]:
    failed = [t for t in evaluator.study.trials if t.stage == "failed"]
    if not failed:
        return []
    many = f"{len(failed)} candidates failed" if len(failed) > 1 else "A candidate failed"
    return [f"{many}, trial {failed[0].number} with: {failed[0].note.rstrip('.')}."]
