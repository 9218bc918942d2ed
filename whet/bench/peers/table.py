"""The peers' table: JSON, Markdown, one summary line, and the plot of drop against speed-up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whet.bench.results import origin, write_result
from whet.decisions.pareto import hypervolume, non_dominated
from whet.support.files import whole, write_text

WHET = "whet"
RUNTIME = "runtime"
POINT = 0.01
"""The drop that the summary allows: one point of an accuracy, one percent of an error."""


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return whet's fastest and smallest files within one point beside the best peers', and their ratios.

    Rows that change nothing (`runtime`) are no peers here: they are the bar. Files that came late do not count. Without
    qualities (random weights) every other row counts. A ratio is None where either side has nothing within the point.
    """
    sides = _sides(rows)
    within = [[r for r in side if (r["drop"] or 0.0) <= POINT] for side in sides]
    whet_fastest, peer_fastest = (
        min(side, key=lambda r: (-r["speedup"], r["drop"] or 0.0), default=None) for side in within
    )
    whet_smallest, peer_smallest = (min(side, key=lambda r: r["size_bytes"], default=None) for side in within)
    ours, theirs = map(_area, sides)
    return {
        "whet_speedup": whet_fastest and whet_fastest["speedup"],
        "best_peer_speedup": peer_fastest and peer_fastest["speedup"],
        "best_peer": peer_fastest and _named(peer_fastest),
        "speedup_ratio": whet_fastest and peer_fastest and whet_fastest["speedup"] / peer_fastest["speedup"],
        "hypervolume_ratio": ours / theirs if theirs > 0 else None,
        "whet_bytes": whet_smallest and whet_smallest["size_bytes"],
        "best_peer_bytes": peer_smallest and peer_smallest["size_bytes"],
        "smallest_peer": peer_smallest and _named(peer_smallest),
        "bytes_ratio": whet_smallest and peer_smallest and whet_smallest["size_bytes"] / peer_smallest["size_bytes"],
    }


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['peer']}: {row['name']}"


def _sides(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return whet's rows and the peers', without the bar's and those that came late."""
    counted = [r for r in rows if r["peer"] != RUNTIME and not r["late"]]
    return [r for r in counted if r["peer"] == WHET], [r for r in counted if r["peer"] != WHET]


def _area(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the area that rows cover between no speed-up and a drop of five points."""
    return hypervolume([(-r["speedup"], max(r["drop"] or 0.0, 0.0)) for r in rows], (-1.0, 5 * POINT))


def summary_line(table: Mapping[str, Any]) -> str:
    """Say the outcome in one sentence."""
    s = table["summary"]
    if s["speedup_ratio"] is None:
        sides = (("whet", s["whet_speedup"]), ("the best peer", s["best_peer_speedup"]))
        told = ", ".join(f"{who} {f'x{best:.2f}' if best else 'nothing within a point'}" for who, best in sides)
        return f"{table['network']} on {table['task']}: {told}."
    area = "" if s["hypervolume_ratio"] is None else f", hypervolume ratio {s['hypervolume_ratio']:.2f}"
    ours = f"whet x{s['whet_speedup']:.2f}"
    theirs = f"x{s['best_peer_speedup']:.2f} of the best peer ({s['best_peer']})"
    return f"{table['network']} on {table['task']}: {ours} against {theirs}, ratio {s['speedup_ratio']:.2f}{area}."


def markdown(table: Mapping[str, Any]) -> str:
    """Return the table for people, fastest first; a peer that failed is a row that says so."""
    metric = table["metric"] or "quality"
    reference = "" if table["reference"] is None else f" Reference {metric} {table['reference']:.4f} (f32)."
    lines = [
        f"### {table['network']} on {table['task']}: {table['budget_seconds']:.0f} s a peer",
        "",
        f"Bar: {table['bar']}, uncompressed.{reference} {summary_line(table)}",
        "",
        "| peer | file | speed-up over the bar (quartiles) | over f32, same runtime "
        f"| {metric} | drop | bytes | zstd -19 | setting |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(table["rows"], key=lambda r: -r["speedup"]):
        same = "" if r["speedup_f32"] is None else f"x{r['speedup_f32']:.2f}"
        quality, drop = ("" if r[k] is None else f"{r[k]:+.4f}"[k == "quality" :] for k in ("quality", "drop"))
        spread = f"({r['speedup_low']:.2f}-{r['speedup_high']:.2f})"
        remark = f" ({r['note']})" if r["note"] and r["peer"] != WHET else ""
        remark += f" (late: after {r['seconds']:.0f} s)" if r["late"] else ""
        lines.append(
            f"| {r['peer']} | {r['name']}{remark} | x{r['speedup']:.2f} {spread} | {same} "
            f"| {quality} | {drop} | {r['size_bytes']:,} | {r['zstd_bytes']:,} | {r['setting']} |"
        )
    lines += [f"| {e['peer']} | {e.get('name', '')} | failed: {e['error']} | | | | | | |" for e in table["failures"]]
    lines += ["", "| peer | seconds | peak memory MB | versions |", "|---|---|---|---|"]
    for e in table["efforts"]:
        packages = ", ".join(f"{k} {v}" for k, v in e["versions"].items())
        lines.append(f"| {e['peer']} | {e['seconds']:.0f} | {e['peak_memory_mb']:.0f} | {packages} |")
    return "\n".join([*lines, "", f"Protocol: {table['protocol']}. {origin(table)}", ""])


def overview(tables: Sequence[Mapping[str, Any]]) -> str:
    """Return one row a work: whet's best within the point beside the best peer's, losses as well as wins."""
    lines = [
        "| network, task | whet | best peer | ratio | hypervolume ratio "
        "| smallest: whet | smallest: best peer | ratio | table |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for table in tables:
        # Of the rows and not of what the file says: a file may be older than a figure of the summary.
        s, link = summary(table["rows"]), f"[{_stem(table)}]({_stem(table)}.md)"
        ratios = ("speedup_ratio", "hypervolume_ratio", "bytes_ratio")
        fast, area, small = (f"{s[k]:.2f}" if s[k] else "" for k in ratios)
        cells = [
            f"{table['network']}, {table['task']}",
            _best(s["whet_speedup"], "x{:.2f}"), _best(s["best_peer_speedup"], "x{:.2f}", s["best_peer"]), fast, area,
            _best(s["whet_bytes"], "{:,}"), _best(s["best_peer_bytes"], "{:,}", s["smallest_peer"]), small, link,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _best(figure: float | None, form: str, who: str | None = None) -> str:
    return ("none" if figure is None else form.format(figure)) + (f" ({who})" if who else "")


def write_overview(folder: Path) -> Path:
    """Write `peers.md`, the overview of the tables that are in `folder`; return its path."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("peers-*.json"))]
    path = folder / "peers.md"
    write_text(path, overview(found))
    return path


def _stem(table: Mapping[str, Any]) -> str:
    return f"peers-{table['task']}-{table['network']}"


def write(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `peers-TASK-NETWORK.{json,md,html,png}`; return the paths."""
    stem = folder / _stem(table)
    write_result(stem, table, markdown(table))
    for suffix, draw in ((".html", _page), (".png", _picture)):
        with whole(Path(f"{stem}{suffix}")) as part:
            draw(table, part)
    return [Path(f"{stem}{suffix}") for suffix in (".json", ".md", ".html", ".png")]


def _fronts(table: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return whet's front and the peers' together, slowest first."""
    sides = zip(("whet's front", "the peers' front"), _sides(table["rows"]), strict=True)
    chosen = {}
    for side, rows in sides:
        kept = non_dominated([(-r["speedup"], r["drop"] or 0.0) for r in rows])
        chosen[side] = sorted((rows[i] for i in kept), key=lambda r: r["speedup"])
    return chosen


def _page(table: Mapping[str, Any], path: Path) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for peer in dict.fromkeys(r["peer"] for r in table["rows"]):
        rows = [r for r in table["rows"] if r["peer"] == peer]
        figure.add_scatter(
            x=[r["speedup"] for r in rows], y=[r["drop"] or 0.0 for r in rows], mode="markers", name=peer,
            text=[f"{r['name']}<br>{r['setting']}" for r in rows], marker={"size": 11},
        )  # fmt: skip
    for side, rows in _fronts(table).items():
        figure.add_scatter(x=[r["speedup"] for r in rows], y=[r["drop"] or 0.0 for r in rows], mode="lines", name=side)
    figure.add_hline(y=POINT, line_dash="dash").add_vline(x=1.0, line_dash="dash")
    figure.update_layout(
        title=summary_line(table), xaxis_title=f"speed-up over {table['bar']}", yaxis_title="drop", height=620
    )
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _picture(table: Mapping[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), dpi=120)
    for index, peer in enumerate(dict.fromkeys(r["peer"] for r in table["rows"])):
        rows = [r for r in table["rows"] if r["peer"] == peer]
        marker = "*" if peer == WHET else "os^Dvp<>hX"[index % 10]
        axes.scatter(
            [r["speedup"] for r in rows], [r["drop"] or 0.0 for r in rows], label=peer, marker=marker,
            s=140 if peer == WHET else 45, zorder=3,
        )  # fmt: skip
    for (side, rows), style in zip(_fronts(table).items(), ("-", "--"), strict=True):
        axes.plot([r["speedup"] for r in rows], [r["drop"] or 0.0 for r in rows], style, label=side, color="grey")
    axes.axhline(POINT, linewidth=0.8, color="red")
    axes.axvline(1.0, linewidth=0.8, color="black")
    axes.set_xlabel("speed-up over the best uncompressed setting of any runtime")
    axes.set_ylabel(f"drop in {table['metric'] or 'quality'}")
    axes.set_title(f"{table['network']} on {table['task']}")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
