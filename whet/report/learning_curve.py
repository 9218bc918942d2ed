"""The learning curve of an agent: what its policy gained in fixed episodes, by the steps that it had learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.support.files import whole


def figure(curve: Sequence[dict[str, Any]], title: str) -> Any:
    """Return the plotly figure of a learning curve: evaluations with their 95 % intervals, and episodes of training.

    `curve` holds the lines of `curve.jsonl`; an interval that is not there, of one episode, is left out.
    """
    from plotly.graph_objects import Figure, Scatter

    steps = [line["steps"] for line in curve]
    known = [line for line in curve if line["low"] is not None]
    around = [line["steps"] for line in known]
    band = [*(line["high"] for line in known), *(line["low"] for line in reversed(known))]
    found = Figure(layout={"title": title, "xaxis_title": "environment steps", "yaxis_title": "return of an episode"})
    found.add_trace(
        Scatter(
            x=[*around, *reversed(around)], y=band, fill="toself", line_width=0, name="95 % interval", hoverinfo="skip",
            opacity=0.4,
        )
    )  # fmt: skip
    found.add_trace(Scatter(x=steps, y=[line["evaluation"] for line in curve], name="evaluation", mode="lines+markers"))
    found.add_trace(Scatter(x=steps, y=[line["training"] for line in curve], name="training", line_dash="dot"))
    return found


def write(curve: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Write the figure as a page that needs nothing else."""
    with whole(path) as part:
        figure(curve, title).write_html(part, include_plotlyjs=True, full_html=True)
