"""The figures of the report, as Plotly's plain JSON."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from whet.report.texts import drop_text, size_text

if TYPE_CHECKING:
    from whet.report.report import ReportData

STAGES = {
    "predicted": ("speed-up forecast, not measured", "#9aa5b1", 8),
    "probe": ("one choice, untrained", "#9aa5b1", 6),
    "short": ("briefly trained", "#5b8def", 7),
    "full": ("fully trained, from its file", "#0f9d76", 10),
}
UNCHANGED, GONE, UNSHOWN = "as it is", "dropped", {"repaired"}
"""A layer that nothing was done to; the kind that outdoes all others; kinds that the map leaves out."""
GREY, DARK = "#d9dee5", "#39424e"
COLOURS = ["#f2b84b", "#5b8def", "#8a63d2", "#0f9d76", "#d64550", "#4bb7c6", "#b5793b", "#e38bc0"]
LAYOUT: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#7a8594"},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hoverlabel": {"align": "left"},
}
HOVER = "%{text}<extra></extra>"
SYMBOLS = {"predicted": "diamond-open"}
GRID = {"gridcolor": "rgba(128,140,155,.25)", "zerolinecolor": "rgba(128,140,155,.5)"}


def _hover(data: ReportData, trial: dict[str, Any]) -> str:
    """Return what a mark says: which trial, its figures, whether they are forecasts or older ones, its decision."""
    decision = "<br>".join(escape(f"{k} = {v}") for k, v in list(trial["decision"].items())[:24]) or "as it is"
    name = "the uncompressed network" if trial["number"] < 0 else f"trial {trial['number']}"
    how = " (forecast from multiply-accumulates)" if trial.get("stage") == "predicted" else ""
    then = f"; x{trial['speedup_then']:.2f} when it was tried" if trial.get("speedup_then") else ""
    after = f", goes on from trial {trial['parent']}" if (trial.get("parent") or -1) >= 0 else ""
    size = f", {size_text(trial['size_bytes'])}" if trial.get("size_bytes") else ""
    figures = f"x{trial['speedup']:.2f}{how}{then}, drop {drop_text(trial['drop'], data.drop_unit)}{size}"
    return f"<b>{name}</b> · {trial['samples']:,} samples{after}<br>{figures}<br>{decision}"


def pareto(data: ReportData) -> dict[str, Any]:
    """Return the plot of drop against speed-up, with the front, the limit and the bar."""
    traces: list[dict[str, Any]] = []
    factor = data.drop_unit[0]
    for stage, (title, colour, size) in STAGES.items():
        points = [t for t in data.trials if t["stage"] == stage and math.isfinite(t["speedup"])]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": title,
                "x": [t["speedup"] for t in points], "y": [t["drop"] * factor for t in points],
                "text": [_hover(data, t) for t in points], "hovertemplate": HOVER,
                "marker": {
                    "color": colour, "size": size, "opacity": 0.45 if stage == "probe" else 0.85,
                    "symbol": SYMBOLS.get(stage, "circle"),
                }
                | (_by_size(points) if stage == "full" and "size" in data.objectives else {}),
            }
        )  # fmt: skip
    front = sorted(data.front, key=lambda m: m["speedup"])
    line = {"color": "#d64550", "width": 2}
    traces.append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "front, timed together",
            "x": [m["speedup"] for m in front], "y": [m["drop"] * factor for m in front],
            "text": [_hover(data, m) for m in front], "hovertemplate": HOVER,
            "line": line, "marker": {"color": "#d64550", "size": 11, "symbol": "circle-open", "line": {"width": 2}},
        }
    )  # fmt: skip
    dashed = {"color": "#7a8594", "width": 1, "dash": "dash"}
    shapes = [{"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": dashed}]
    notes = [{"x": 1, "yref": "paper", "y": 0.98, "text": "the bar", "showarrow": False, "xanchor": "right"}]
    worst = max([t["drop"] * factor for t in data.trials if t["stage"] in ("short", "full")], default=0.1)
    if data.max_drop is not None:
        y = data.max_drop * factor
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": dashed})
        note = {"xref": "paper", "x": 0.99, "y": y, "text": "limit", "showarrow": False, "yanchor": "bottom"}
        notes.append(note)
        worst = max(worst, 2 * y)
    layout = LAYOUT | {"height": 460, "shapes": shapes, "annotations": notes} | _axes(data, 1.1 * worst)
    return {"data": traces, "layout": layout}


def _axes(data: ReportData, most: float) -> dict[str, Any]:
    """Return both axes, up to the drop of `most` in the unit of the limit, as wide as the marks that are then seen."""
    factor, mark = data.drop_unit
    shown = [t for t in data.trials if t["stage"] in STAGES and t["drop"] * factor <= most]
    lowest = min((t["drop"] * factor for t in shown), default=0.0)
    speedups = [1.0, *(t["speedup"] for t in [*shown, *data.front] if math.isfinite(t["speedup"]))]
    aside = 0.08 * (max(speedups) - min(speedups)) or 0.1
    return {
        "xaxis": GRID
        | {"title": {"text": "speed-up over the bar"}, "range": [min(speedups) - aside, max(speedups) + aside]},
        "yaxis": GRID
        | {
            "title": {"text": f"drop in {escape(data.metric)}"}, "ticksuffix": mark,
            "range": [lowest - 0.05 * most, most],
        },
    }  # fmt: skip


def _by_size(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how marks are coloured by the size of their files."""
    bar = {"title": {"text": "kB"}, "thickness": 12}
    return {"color": [t["size_bytes"] / 1000 for t in trials], "colorscale": "Viridis", "colorbar": bar}


def layer_states(data: ReportData, member: dict[str, Any]) -> list[str]:
    """Return for each layer the kinds of what was done to it in a member of the front, in words."""
    empty: dict[str, Any] = {"changed": []}
    trial = next((t for t in data.trials if t["number"] == member["number"]), empty)
    shown = [c for c in trial["changed"] if c["kind"] not in UNSHOWN]
    states = []
    for layer in data.layers:
        kinds = dict.fromkeys(c["kind"] for c in shown if covers(c["site"], layer))
        states.append(GONE if GONE in kinds else ", ".join(kinds) or UNCHANGED)
    return states


def covers(site: str, layer: str) -> bool:
    """Say whether what was done to a site was done to a layer.

    >>> covers("block.1", "block.1.conv"), covers("block.1", "block.10"), covers("attention#heads", "attention")
    (True, False, True)
    """
    site = site.partition("#")[0]
    return layer == site or layer.startswith(site + ".")


def heat_map(data: ReportData) -> dict[str, Any] | None:
    """Return the map of layers against members of the front, or None without members."""
    if not data.front or not data.layers:
        return None
    columns = [f"{i}: x{m['speedup']:.2f}" for i, m in enumerate(data.front)]
    states = [layer_states(data, m) for m in data.front]
    own = sorted({state for column in states for state in column} - {UNCHANGED, GONE})
    kinds = [UNCHANGED, *own, GONE]
    colours = [GREY, *(COLOURS[i % len(COLOURS)] for i in range(len(own))), DARK]
    rows = [[kinds.index(states[j][i]) for j in range(len(columns))] for i in range(len(data.layers))]
    steps = [[(i + side) / len(kinds), c] for i, c in enumerate(colours) for side in (0, 1)]
    trace = {
        "type": "heatmap", "z": rows, "x": columns, "y": [escape(name) for name in data.layers],
        "zmin": -0.5, "zmax": len(kinds) - 0.5,
        "colorscale": steps, "xgap": 3, "ygap": 1, "text": [[escape(kinds[v]) for v in row] for row in rows],
        "hovertemplate": "%{y}<br>%{x}<br>%{text}<extra></extra>",
        "colorbar": {"tickvals": list(range(len(kinds))), "ticktext": [*map(escape, kinds)], "thickness": 12},
    }  # fmt: skip
    layout = LAYOUT | {
        "height": max(260, 15 * len(data.layers) + 90),
        "xaxis": {"title": {"text": "file of the front"}, "type": "category"},
        "yaxis": {"autorange": "reversed", "automargin": True, "tickfont": {"size": 10}},
    }
    return {"data": [trace], "layout": layout}


def history(data: ReportData) -> dict[str, Any] | None:
    """Return how the front's area and the number of candidates grew over time."""
    if not data.trials:
        return None
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": title, "line": {"color": colour, "shape": "hv"},
            "x": [t["spent_seconds"] for t in points], "y": list(range(1, len(points) + 1)), "yaxis": "y2",
        }
        for stage, (title, colour, _) in STAGES.items()
        if (points := [t for t in data.trials if t["stage"] == stage])
    ]  # fmt: skip
    traces.append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "area under the front",
            "line": {"color": "#d64550", "shape": "hv", "width": 2},
            "x": [p[0] for p in data.hypervolume], "y": [p[1] for p in data.hypervolume],
        }
    )  # fmt: skip
    layout = LAYOUT | {
        "height": 340, "margin": {"l": 72, "r": 64, "t": 16, "b": 56},
        "xaxis": GRID | {"title": {"text": "seconds"}},
        "yaxis": GRID | {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
        "yaxis2": {
            "title": {"text": "candidates", "standoff": 8}, "automargin": True,
            "rangemode": "tozero", "tickmode": "auto", "overlaying": "y", "side": "right", "showgrid": False,
        },
    }  # fmt: skip
    return {"data": traces, "layout": layout}
