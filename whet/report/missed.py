"""Why there is not more: what missed the limit and by how much, how the search ended, what was left undone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whet.report.gained import ORIGINAL, best
from whet.report.texts import drop_text, many

if TYPE_CHECKING:
    from whet.report.report import ReportData

MOST = 3
"""How many candidates of each kind are shown."""
VERIFIED, SCORED, BRIEFLY, FORECAST = (
    "verified from its file", "scored from its file, not timed", "briefly trained", "forecast",
)  # fmt: skip
"""How far a candidate came."""


@dataclass(frozen=True)
class Missed:
    """A candidate that would gain more than the best file: how far it came, and by how much it is over the limit."""

    trial: dict[str, Any]
    how: str
    over: float


def missed(data: ReportData) -> list[Missed]:
    """Return what would gain more than the best file and broke the limit: the nearest first, then those of more gain.

    Some of what was tried, then of forecasts; a forecast is left out where a tried one gains as much and loses no more.
    """
    if data.max_drop is None:
        return []
    rivals = [each for each in _rivals(data) if each.over > 0]
    shown: list[Missed] = []
    for forecast in (False, True):
        some: list[Missed] = []
        for each in sorted((r for r in rivals if (r.how == FORECAST) is forecast), key=lambda r: r.over):
            nearer = [other.trial for other in [*shown, *some] if other.over <= each.over]
            if all(_gain(data, each.trial) > _gain(data, other) for other in nearer):
                some.append(each)
        shown += some[:MOST]
    return shown


def waiting(data: ReportData) -> list[Missed]:
    """Return what was within the limit so far, would gain more than the best file, and was not verified.

    What was tried comes first, then forecasts, of each those of most gain.
    """
    within = sorted((r for r in _rivals(data) if r.over <= 0), key=lambda r: -_gain(data, r.trial))
    tried = [r for r in within if r.how in (SCORED, BRIEFLY)]
    return tried[:MOST] + [r for r in within if r.how == FORECAST][:MOST]


def _rivals(data: ReportData) -> list[Missed]:
    """Return the candidates that promise more than the best file, or than the uncompressed network without one."""
    file = best(data) if not data.nearest else None
    least = 1.0 if file is None else _gain(data, file)
    limit = math.inf if data.max_drop is None else data.max_drop
    delivered, full = {m["number"] for m in data.front}, [t for t in data.trials if t["stage"] == "full"]
    found = []
    for trial in data.trials:
        how = _how(trial)
        later = how != VERIFIED and any(
            t.get("parent") == trial["number"] or t["decision"] == trial["decision"] for t in full
        )
        more = _gain(data, trial) > least and math.isfinite(trial["drop"])
        if how and more and not later and trial["number"] not in delivered:
            found.append(Missed(trial, how, trial["drop"] - limit))
    return found


def _how(trial: dict[str, Any]) -> str:
    if trial["stage"] == "full":
        return "" if trial["simulated"] else VERIFIED
    if trial["stage"] == "short":
        return BRIEFLY
    if trial["stage"] == "predicted":
        return SCORED if trial.get("artifact") else FORECAST
    return ""


def _gain(data: ReportData, trial: dict[str, Any]) -> float:
    """Return what was to be made large: the speed-up, of the last race where there is one, or what mixes objectives."""
    gain = trial["speedup"] if tuple(data.objectives) == ("speed",) else trial.get("gain", trial["speedup"])
    return float(gain) if math.isfinite(gain) else float(trial.get("gain", 0.0))


def ended(data: ReportData) -> list[str]:
    """Say how the search ended and what it spent its time on, as far as that was recorded."""
    return list(filter(None, [_budget(data), *_reasons(data), _found(data), _training(data), _beyond(data)]))


def _budget(data: ReportData) -> str:
    delivery = sum(taken for key, taken in data.seconds.items() if key.startswith("delivery/"))
    of = f", {delivery:.0f} s of them for the delivery: the last race, scores, files" if delivery >= 1 else ""
    if not math.isfinite(data.budget_seconds):
        return f"It took {data.spent_seconds:.0f} s{of}; the budget was not in seconds."
    return f"{data.spent_seconds:.0f} of {data.budget_seconds:.0f} s were used{of}."


def _reasons(data: ReportData) -> list[str]:
    """Return what ended the search; nothing for a study that did not write that down."""
    how = data.ended
    if not how:
        return []
    if how.get("again"):
        return ["Nothing was searched: the candidates are those of another study."]
    if how.get("interrupted"):
        return ["The search was interrupted."]
    left = data.budget_seconds - data.spent_seconds
    found = []
    if how.get("trials") is not None and how.get("epochs") is None:
        found.append(f"The search was limited to {how['trials']} candidates.")
    if how.get("epochs") is not None:
        found.append(f"The training was limited to {how['epochs']:g} passes over the data.")
    if not found and math.isfinite(left) and left > 0.1 * data.budget_seconds:
        found.append(f"It ended {left:.0f} s early: of what was left to try nothing was held worth the time.")
    return found


def _found(data: ReportData) -> str:
    """Say when the best file was found, and how many candidates came after it."""
    file = best(data)
    trial = next((t for t in data.trials if file and t["number"] == file["number"]), None)
    if file is None or file["number"] == ORIGINAL or trial is None:
        return ""
    after = sum(t["number"] > trial["number"] for t in data.trials)
    name = "The nearest candidate" if data.nearest else "The best file"
    later = f"{many(after, 'candidate')} came after it" if after else "nothing came after it"
    return f"{name} was found after {trial['spent_seconds']:.0f} s; {later}."


def _training(data: ReportData) -> str:
    seconds = sum(taken for key, taken in data.seconds.items() if key.split("/")[-1] == "train")
    trained = [t for t in data.trials if t["stage"] == "full" and t["samples"]]
    if seconds < 1 or not trained:
        return ""
    most = max(t["samples"] for t in trained)
    were = f"{many(len(trained), 'verified candidate')} {'were' if len(trained) > 1 else 'was'} trained"
    return f"Training took {seconds:.0f} s; {were}, on up to {most:,} samples."


def _beyond(data: ReportData) -> str:
    """Say so where it was not the limit that kept candidates off the front."""
    if data.max_drop is None or not data.front or missed(data):
        return ""
    return "Of all that was tried or forecast, nothing of more gain was beyond the limit."


def over_text(data: ReportData, over: float) -> str:
    """Return by how much a drop is over the limit, in its unit."""
    return drop_text(over, data.drop_unit).lstrip("+")
