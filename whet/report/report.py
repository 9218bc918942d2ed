"""`report.html`: one self-contained page that shows what was found, what was done, and how it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from whet.report.bundle import ALPHABET, packed, plotly
from whet.report.described import sentences
from whet.report.done import choices, done
from whet.report.figures import heat_map, history, pareto
from whet.report.gained import best, gained
from whet.report.missed import ended, missed, over_text, waiting
from whet.report.served import serving
from whet.report.texts import drop_text, size_text
from whet.support.files import write_text


@dataclass(frozen=True)
class ReportData:
    """All that the page shows, as plain JSON values.

    `trials` are `Trial.to_dict()`, with `speedup_then` where the last race gave a new speed-up, `front` and `nearest`
    members of the delivered front, `settings` the latency of the uncompressed network by setting in ms, `outside` why
    some of these are no bars, `limit` and `drop_unit` how drops are read, `hypervolume` pairs of seconds and area,
    `seconds` where they went by `stage/activity`, `objectives` what was wanted beside quality, `layer_times` what each
    layer takes in several formats, with the value that was chosen for it, and the race between mixtures of them, `made`
    by which version, when, with which seed and limit, `original` what the uncompressed network takes, `ended` what may
    have ended the search. What came later than the first reports has a default: older studies render too.
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
    original: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)


def render(data: ReportData, path: Path) -> Path:
    """Write the page to `path`, whole or not at all, and return it."""
    environment = Environment(
        loader=PackageLoader("whet.report", "."), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    environment.filters["decision"] = decision_text
    environment.filters["drop"] = lambda drop: drop_text(drop, data.drop_unit)
    environment.filters["agreement"] = agreement_text
    environment.filters["percentiles"] = percentiles_text
    environment.filters["size"] = size_text
    environment.filters["over"] = lambda over: over_text(data, over)
    environment.filters["choices"] = choices
    drawn = {"pareto": pareto(data), "layers": heat_map(data), "history": history(data)}
    figures = {name: figure for name, figure in drawn.items() if figure is not None}
    page = environment.get_template("report.html.jinja").render(
        d=data,
        files=[_file(data, m) for m in data.front + ([data.nearest] if data.nearest else [])],
        best=best(data),
        gained=gained(data),
        missed=missed(data),
        waiting=waiting(data),
        ended=ended(data),
        serving=serving(data),
        figures_of=figures_of,
        figures=packed(json.dumps(figures)),
        has_layers="layers" in figures,
        said=sentences(data),
        plotly=plotly(),
        alphabet=ALPHABET,
    )
    write_text(path, page)
    return path


def _file(data: ReportData, member: dict[str, Any]) -> dict[str, Any]:
    """Return a member with its name on the page and what was done to its network."""
    within = data.front.index(member) if member in data.front else None
    changed: list[dict[str, str]] = next((t["changed"] for t in data.trials if t["number"] == member["number"]), [])
    return {
        **member,
        "name": f"front/{within}" if within is not None else f"{member['path']}, beyond the limit",
        "folder": f"front/{within}" if within is not None else "",
        "done": done(changed),
    }


def figures_of(files: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return all figures, one of each file; those that were measured of none are left out."""
    served = [m.get("serving") or {} for m in files]
    rows = {
        "speed-up, quartiles": [f"{m['speedup_low']:.2f} to {m['speedup_high']:.2f}" for m in files],
        "bytes": [f"{m['size_bytes']:,}" for m in files],
        "parameters": [f"{m['parameters']:,}" if m.get("parameters") else "" for m in files],
        "p50, p95, p99 of single calls, ms": [percentiles_text(m) for m in files],
        "cold start, ms": [f"{s['cold_start_ms']:.3g}" if s else "" for s in served],
        "memory, bytes": [f"{m['memory_bytes']:,}" if m.get("memory_bytes") else "" for m in files],
        "agreement with the original": [agreement_text(m) for m in files],
        "largest difference of an output": [
            "" if m["max_abs_difference"] is None else f"{m['max_abs_difference']:.3g}" for m in files
        ],
        "layers by precision": [computed_text(m) for m in files],
        "trained on, samples": [f"{m['samples']:,}" for m in files],
    }
    return [(name, cells) for name, cells in rows.items() if any(cells)]


def computed_text(member: dict[str, Any]) -> str:
    """Return in which precision how many layers are computed, the most first.

    >>> computed_text({"computed": {"f32": 2, "int8": 30}})
    '30 in int8, 2 in f32'
    """
    counts = sorted((member.get("computed") or {}).items(), key=lambda item: -item[1])
    return ", ".join(f"{count} in {precision}" for precision, count in counts)


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
