"""`report.html`: one self-contained page that shows what was found, what was done, and how it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from plotly.offline import get_plotlyjs

from whet.report.figures import heat_map, history, pareto
from whet.report.texts import drop_text
from whet.support.files import write_text


@dataclass(frozen=True)
class ReportData:
    """All that the page shows, as plain JSON values.

    `trials` are `Trial.to_dict()`, with `speedup_then` where the last race gave a new speed-up, `front` and `nearest`
    members of the delivered front, `settings` the latency of the uncompressed network by setting in ms, `outside` why
    some of these are no bars, `limit` and `drop_unit` how drops are read, `hypervolume` pairs of seconds and area,
    `seconds` where they went by `stage/activity`, `objectives` what was wanted beside quality, `layer_times` what each
    layer takes in several formats, with the value that was chosen for it, and the race between mixtures of them, `made`
    by which version, when, with which seed and limit.
    """

    title: str
    network: str
    task: str
    metric: str
    direction: str
    reference_val: float
    reference_test: float | None
    max_drop: float | None
    target: str
    device: dict[str, Any]
    bar: str
    settings: dict[str, float]
    trials: list[dict[str, Any]]
    front: list[dict[str, Any]]
    nearest: dict[str, Any] | None
    layers: list[str]
    skipped: dict[str, str]
    hypervolume: list[Any]
    conclusion: str
    command: str
    budget_seconds: float
    spent_seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    limit: str = ""
    drop_unit: Sequence[Any] = (1.0, "")
    notes: list[str] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    objectives: Sequence[str] = ("speed",)
    layer_times: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)


def render(data: ReportData, path: Path) -> Path:
    """Write the page to `path`, whole or not at all, and return it."""
    environment = Environment(
        loader=PackageLoader("whet.report", "."), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters["decision"] = decision_text
    environment.filters["drop"] = lambda drop: drop_text(drop, data.drop_unit)
    environment.filters["agreement"] = agreement_text
    environment.filters["percentiles"] = percentiles_text
    figures = {"pareto": pareto(data), "layers": heat_map(data), "history": history(data)}
    page = environment.get_template("report.html.jinja").render(
        d=data,
        shown=data.front + ([data.nearest] if data.nearest else []),
        figures={k: _safe_json(v) for k, v in figures.items() if v is not None},
        plotly=get_plotlyjs(),
    )
    write_text(path, page)
    return path


def decision_text(decision: dict[str, Any]) -> str:
    """Return a decision in one line.

    >>> decision_text({"a:width": 0.5})
    'a:width = 0.5'
    """
    return ", ".join(f"{k} = {v}" for k, v in decision.items()) or "as it is"


SHORT = {
    "top1_agreement": (100, "same top-1 {:.1f} %"),
    "equal_share": (100, "equal {:.1f} %"),
    "cosine_similarity": (1, "cosine {:.4f}"),
    "relative_error": (1, "relative error {:.2g}"),
    "correlation": (1, "correlation {:.4f}"),
}


def agreement_text(member: dict[str, Any]) -> str:
    """Return how a file agrees with the original, in the terms of its outputs.

    >>> agreement_text({"agreement": {"loc.relative_error": 0.0125, "conf.top1_agreement": 0.97}})
    'loc relative error 0.013, conf same top-1 97.0 %'
    """
    figures = member.get("agreement") or {"top1_agreement": member.get("top1_agreement")}
    parts = []
    for name, value in figures.items():
        output, _, figure = name.rpartition(".")
        if value is not None:
            factor, text = SHORT[figure]
            parts.append(f"{output} {text.format(factor * value)}".strip())
    return ", ".join(parts)


def percentiles_text(member: dict[str, Any]) -> str:
    """Return how long single calls of a file take, nothing where that was not measured.

    >>> percentiles_text({"serving": {"p50_ms": 0.1234, "p95_ms": 0.2, "p99_ms": 1.0}})
    '0.1234, 0.2000, 1.0000'
    """
    found = member.get("serving") or {}
    return ", ".join(f"{found[name]:.4f}" for name in ("p50_ms", "p95_ms", "p99_ms")) if found else ""


def _safe_json(figure: dict[str, Any]) -> str:
    """Return JSON that may stand inside a script element whatever the names in it are."""
    return json.dumps(figure).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
