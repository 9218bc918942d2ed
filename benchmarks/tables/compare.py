"""Compare all strategies on the tables: `python benchmarks/tables/compare.py --out benchmarks/results`.

Each strategy searches each table with each seed; the curve is the share of the table's whole hypervolume that it holds
after each measurement. Written are `strategies-NETWORK.json`, `.md` and `.png`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, median_low
from typing import Annotated, Any

import typer

from whet.core.files import whole, write_text
from whet.search import strategies
from whet.search.tabular import Table

HERE = Path(__file__).parent
RIVAL = "nsga2"
BLACK = {RIVAL: "-", "random": ":"}
WORST_DROP = 0.1
LEFT_OUT = {"cmaes": "one objective only"}
SLOW = {"gp": 60}
"""Strategies whose own computing time allows only so many measurements."""


def curves(table: Table, names: Sequence[str], seeds: int, measurements: int) -> dict[str, list[list[float]]]:
    """Return one curve for each seed of each strategy."""
    found: dict[str, list[list[float]]] = {}
    for name in names:
        count = min(measurements, SLOW.get(name, measurements))
        found[name] = [
            table.curve(strategies.get(name, table.space, seed), count, WORST_DROP) for seed in range(seeds)
        ]
        typer.echo(f"{table.about['network']} {name}: {median(c[-1] for c in found[name]):.3f}", err=True)
    return found


def needed(found: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    """Return after how many measurements half of the seeds hold the rival's median last share, or infinity."""
    goal = median(curve[-1] for curve in found[RIVAL])
    reached = {
        name: [next((i for i, share in enumerate(curve, 1) if share >= goal), float("inf")) for curve in curves]
        for name, curves in found.items()
    }
    return {name: median_low(counts) for name, counts in reached.items()}


def markdown(table: Table, found: Mapping[str, Sequence[Sequence[float]]], measurements: int) -> str:
    """Return the table for people, the thriftiest strategy first."""
    counts = needed(found)
    looks = [n for n in (10, 20, 40, 80, measurements) if n <= measurements]
    lines = [
        f"### Strategies on {table.about['network']}: {len(table.figures)} decisions, {len(found[RIVAL])} seeds",
        "",
        f"Median share of the table's hypervolume (speed-up above 1, drop below {WORST_DROP}) after so many "
        f"measurements, and the measurements to what {RIVAL} holds after {measurements}.",
        "",
        "| strategy | " + " | ".join(map(str, looks)) + f" | to {RIVAL}'s last |",
        "|---" * (len(looks) + 2) + "|",
    ]
    for name in sorted(found, key=lambda n: (counts[n], n)):
        shares = [median(c[n - 1] for c in found[name]) if n <= len(found[name][0]) else None for n in looks]
        cells = ["" if s is None else f"{s:.3f}" for s in shares]
        reached = "never" if counts[name] == float("inf") else f"{counts[name]:g}"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {reached} |")
    return "\n".join([*lines, "", f"Device of the table: {table.about['device']['cpu']}.", ""])


def picture(table: Table, found: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """Draw the median curves; those of the rival and of random search are black in every picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 6), dpi=120)
    counts = needed(found)
    for index, name in enumerate(sorted(found, key=lambda n: (counts[n], n))):
        middle = [median(column) for column in zip(*found[name], strict=True)]
        style = {"color": "black", "linestyle": BLACK[name]} if name in BLACK else {"color": f"C{index % 10}"}
        marker = {} if name in BLACK else {"marker": "os^Dvp<>hX"[index // 10], "markevery": 25}
        axes.plot(range(1, len(middle) + 1), middle, label=name, **style, **marker)
    axes.set_xlabel("measurements")
    axes.set_ylabel("share of the hypervolume, median of the seeds")
    axes.set_title(f"Search on {table.about['network']}")
    axes.legend(fontsize=8, ncols=2)
    figure.tight_layout()
    with whole(path) as part:
        figure.savefig(part, format="png")
    pyplot.close(figure)


def main(
    out: Annotated[Path, typer.Option(help="Where the results go.")] = HERE.parent / "results",
    seeds: int = 10,
    measurements: int = 200,
    only: Annotated[list[str] | None, typer.Option(help="Strategies to take; repeat it for several.")] = None,
) -> None:
    """Let every strategy search every table."""
    names = [n for n in strategies.STRATEGIES if n not in LEFT_OUT and (not only or n in {*only, RIVAL})]
    for path in sorted(HERE.glob("*.json.gz")):
        table = Table.load(path)
        found = curves(table, names, seeds, measurements)
        stem = f"strategies-{table.about['network']}"
        record: dict[str, Any] = {
            "about": dict(table.about), "worst_drop": WORST_DROP, "left_out": LEFT_OUT,
            "needed": {k: None if v == float("inf") else v for k, v in needed(found).items()},
            "curves": {k: [[round(s, 5) for s in c] for c in v] for k, v in found.items()},
        }  # fmt: skip
        write_text(out / f"{stem}.json", json.dumps(record) + "\n")
        write_text(out / f"{stem}.md", markdown(table, found, measurements))
        picture(table, found, out / f"{stem}.png")


if __name__ == "__main__":
    typer.run(main)
