"""What the plots of the report show, in a sentence each: for whoever does not see them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from whet.report.figures import STAGES, layer_states
from whet.report.texts import drop_text, many

if TYPE_CHECKING:
    from whet.report.report import ReportData


def sentences(data: ReportData) -> dict[str, str]:
    """Return what is said of each plot, by its name."""
    return {"pareto": _pareto(data), "layers": _layers(data), "history": _history(data)}


def _pareto(data: ReportData) -> str:
    shown = [t for t in data.trials if t["stage"] in STAGES and math.isfinite(t["speedup"])]
    files = [f"x{m['speedup']:.2f} at drop {drop_text(m['drop'], data.drop_unit)}" for m in data.front]
    front = f" The front: {', '.join(files)}." if files else " No file is on the front."
    limit = f" The limit is {data.limit or data.max_drop}." if data.max_drop is not None else ""
    return f"Plot of drop against speed-up for {many(len(shown), 'candidate')}.{front}{limit}"


def _layers(data: ReportData) -> str:
    each = [Counter(layer_states(data, m)) for m in data.front]
    files = [
        f"file {i}: {', '.join(f'{count} {_and(state)}' for state, count in counts.most_common())}"
        for i, counts in enumerate(each)
    ]
    return f"Map of what was done to {many(len(data.layers), 'layer')}. {'; '.join(files).capitalize()}."


def _history(data: ReportData) -> str:
    verified = sum(t["stage"] == "full" for t in data.trials)
    area = f" and the area under the front, {data.hypervolume[-1][1]:.3g} at the end" if data.hypervolume else ""
    count = f"{many(len(data.trials), 'candidate')}, {verified} of them verified"
    return f"Plot over {data.spent_seconds:.0f} seconds of the number of candidates: {count}{area}."


def _and(state: str) -> str:
    """Return a state of several kinds without commas, which part states."""
    return state.replace(", ", " and ")
