"""Searches side by side on the same work, data and budget: each way of shrinking alone against all together, and
sub-networks that train together against candidates that train one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whet.bench.results import commit, origin, write_result
from whet.core.net import Net
from whet.core.run import Progress
from whet.decisions.pareto import hypervolume
from whet.flow.delivered import DeliveredFront
from whet.flow.optimize import optimize
from whet.flow.quantities import fraction, seconds
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.race import alike, race, uncompressed
from whet.hardware.targets import inputs_of, setting_name

SECONDS_EACH = 1.5
AREA_LIMITS = 2.0
"""A front's hypervolume reaches from no speed-up to so many times the limit of the drop."""


@dataclass(frozen=True)
class Row:
    """One row: its title, the passes it may use, how candidates train; without passes the original trains further."""

    title: str
    passes: tuple[str, ...]
    elastic: bool = False


ALL = ("depth", "width", "quantize")
ROWS = (
    Row("whet: all together", ALL),
    Row("shallower alone", ("depth",)),
    Row("narrower alone", ("width",)),
    Row("int8 alone", ("quantize",)),
    Row("original, trained on", ()),
)
ELASTIC_ROWS = (Row("each candidate alone", ALL), Row("all at once", ALL, elastic=True))


def run(
    net: Net, bundle: Any, budget: str, max_drop: str, target: str, out: Path, results: Path,
    progress: Progress, suite: str = "techniques",
) -> dict[str, Any]:  # fmt: skip
    """Optimize once per row, then time every row's fastest file interleaved in one run; write JSON and Markdown.

    A row whose result meets no limit enters with its nearest candidate, marked as missing the limit. `suite` is
    `techniques` or `elastic`.
    """
    fronts: dict[str, DeliveredFront] = {}
    for row in ELASTIC_ROWS if suite == "elastic" else ROWS:
        folder = out / f"{net.name}-{bundle.task.name}" / (row.title.split(":")[0].replace(" ", "-").replace(",", ""))
        fronts[row.title] = optimize(
            net, bundle.task, target=target, max_drop=max_drop, budget=budget, out=folder, passes=row.passes,
            elastic=row.elastic, recipe=bundle.recipe, progress=partial(_in_row, progress, row.title),
        )  # fmt: skip
    table = compare(net, bundle.task.name, fronts, target, max_drop)
    table |= {"budget_seconds": seconds(budget), "commit": commit()}
    write_result(results / f"{suite}-{bundle.task.name}-{net.name}", table, markdown(table))
    return table


def _in_row(progress: Progress, title: str, event: dict[str, Any]) -> None:
    progress({**event, "row": title})


def compare(
    net: Net, task: str, fronts: dict[str, DeliveredFront], target: str, max_drop: str | float
) -> dict[str, Any]:
    """Time the bar and every member of every front, interleaved in one process; a row is its front's fastest there.

    A row that finished nothing has no speed-up; `hypervolume` is that of its members within the limit.
    """
    chosen = targets.get(target)
    first = next(iter(fronts.values()))
    members = {
        f"{title} {member.number}": (title, member)
        for title, front in fronts.items()
        for member in front.members or filter(None, [front.nearest])
    }
    files = {key: (fronts[title].folder / m.path, alike(chosen, m.settings)) for key, (title, m) in members.items()}
    bar = uncompressed(first.bar_artifact.path)
    raced = race(chosen, inputs_of(net), bar | files, bar, SECONDS_EACH)
    latencies = raced.latencies
    worst = AREA_LIMITS * (fraction(max_drop) or 0.01)
    rows = []
    for title, front in fronts.items():
        own = [key for key, (owner, _) in members.items() if owner == title]
        if not own:
            rows.append({"row": title, "met": False, "speedup": None, "hypervolume": 0.0})
            continue
        key = max(own, key=lambda k: latencies[k].ratio)
        points = [(-latencies[k].ratio, max(members[k][1].drop, 0.0)) for k in own if front.met]
        latency, member = latencies[key], members[key][1]
        rows.append(
            member.to_dict()
            | {"row": title, "met": front.met, "speedup": latency.ratio, "speedup_low": latency.ratio_low,
               "speedup_high": latency.ratio_high, "latency_ms": latency.latency_ms,
               "setting": setting_name(raced.settings[key]), "hypervolume": hypervolume(points, (-1.0, worst))}
        )  # fmt: skip
    return {
        "task": task,
        "network": net.name,
        "max_drop": max_drop,
        "metric": first.metric,
        "bar": setting_name(raced.settings[raced.bar]),
        "reference_val": first.reference,
        "reference_test": first.reference_test,
        "device": fingerprint().to_dict(),
        "protocol": next(iter(latencies.values())).protocol,
        "rows": rows,
    }


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people; one that was made before hypervolumes were has no column of them."""
    areas = any("hypervolume" in r for r in table["rows"])
    lines = [
        f"### {table['network']} on {table['task']}: {table['budget_seconds']:.0f} s a row, "
        f"at most {table['max_drop']} worse",
        "",
        f"Bar: the uncompressed network in its fastest setting, `{table['bar']}`. Reference {table['metric']}: "
        f"{table['reference_val']:.4f} on validation, {table['reference_test']:.4f} on test data.",
        "",
        f"| row | speed-up over the bar (quartiles) | {table['metric']} val | {table['metric']} test "
        "| bytes | setting | limit |" + " hypervolume |" * areas,
        "|---|---|---|---|---|---|---|" + "---|" * areas,
    ]
    for r in table["rows"]:
        if r["speedup"] is None:
            lines.append(f"| {r['row']} | nothing finished in the budget | | | | | missed |" + " 0 |" * areas)
            continue
        test = "" if r["test"] is None else f"{r['test']:.4f}"
        lines.append(
            f"| {r['row']} | x{r['speedup']:.2f} ({r['speedup_low']:.2f}-{r['speedup_high']:.2f}) | {r['val']:.4f} "
            f"| {test} | {r['size_bytes']:,} | {r['setting']} | {'met' if r['met'] else 'missed'} |"
            + (f" {r['hypervolume']:.4f} |" if areas else "")
        )
    lines += ["", f"Protocol: {table['protocol']}. {origin(table)}", ""]
    return "\n".join(lines)
