"""Compare all strategies on the tables: `python benchmarks/tables/compare.py --out benchmarks/results`.

Each strategy searches each table with each seed; the curve is the share of the table's whole hypervolume that it holds
after each measurement. Written are `strategies-NETWORK.json`, `.md` and `.png`, the first after every strategy: killed,
the same command goes on.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from whet.bench.peers.botorch import QLogNehvi
from whet.bench.results import commit, made_by
from whet.bench.tabular import Table, replay
from whet.core.strategy import Strategy
from whet.hardware.workers import workers
from whet.search import strategies
from whet.support.files import whole, write_text

HERE = Path(__file__).parent
RIVAL = "nsga2"
BLACK = {RIVAL: "-", "random": ":"}
WORST_DROP = 0.1
"""Decisions that lose more are of no use to anybody."""

Curves = Mapping[str, Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Engine:
    """A row: a strategy, by its name or as a class, with options; how many measurements its computing time allows."""

    strategy: str | type[Strategy]
    options: dict[str, Any] = field(default_factory=dict)
    most: int | None = None

    @property
    def make(self) -> Callable[..., Strategy]:
        """What makes the strategy on a space with a seed; other processes can read it."""
        if isinstance(self.strategy, str):
            return partial(strategies.get, self.strategy, **self.options)
        return partial(self.strategy, **self.options)


ENGINES = {name: Engine(name) for name in strategies.STRATEGIES} | {
    "improvement": Engine("improvement", most=100),
    "bayesian": Engine("bayesian", most=100),
    "gp": Engine("gp", most=60),
    "bayesian, infinite width": Engine("bayesian", {"model": "infinite-width"}),
    "bayesian, ensemble": Engine("bayesian", {"model": "ensemble"}, most=100),
    "bayesian, network": Engine("bayesian", {"model": "bayesian-network"}, most=60),
    "alternating, ridge": Engine("alternating", {"predictors": ("ridge",)}),
    "alternating, boosting": Engine("alternating", {"predictors": ("boosting",)}),
    "sweep, dynamic": Engine("sweep", {"programme": "dynamic"}),
    "one-shot, interpolation": Engine("one-shot", {"mixing": "interpolation"}),
    "one-shot, trainable gate": Engine("one-shot", {"mixing": "trainable-gate"}),
}
PEERS = {"BoTorch, qLogNEHVI": Engine(QLogNehvi, {"reference": (1.0, WORST_DROP)}, most=60)}
"""Strategies of others: rows where they are installed (the extra `peers`)."""
if find_spec("botorch"):
    ENGINES |= PEERS


def searched(path: Path, title: str, protocol: Mapping[str, Any], pool: Executor) -> dict[str, Any]:
    """Return one curve for each seed of an engine, and its own seconds a proposal."""
    engine, seeds = ENGINES[title], protocol["seeds"]
    count = min(protocol["measurements"], engine.most or protocol["measurements"])
    one = partial(replay, path, engine.make, measurements=count, worst=protocol["worst_drop"])
    curves, seconds = zip(*pool.map(one, range(seeds)), strict=True)
    shares = [[round(s, 5) for s in c] for c in curves]
    return {"curves": shares, "seconds": round(median(seconds), 4), "commit": commit()}


def needed(found: Curves) -> dict[str, float]:
    """Return the seeds' median of the measurements after which they hold the rival's median last share, or infinity."""
    goal = median(curve[-1] for curve in found[RIVAL])
    reached = {
        name: [next((i for i, share in enumerate(curve, 1) if share >= goal), float("inf")) for curve in curves]
        for name, curves in found.items()
    }
    return {name: float(median(counts)) for name, counts in reached.items()}


def made(found: Mapping[str, Any]) -> str:
    """Return which rows which commit made."""
    commits = {one.get("commit") for one in found.values()}
    if len(commits) == 1:
        return made_by({"commit": commits.pop()})
    rows = {c: ", ".join(sorted(n for n, one in found.items() if one.get("commit") == c)) for c in commits if c}
    named = [f"{names}: {made_by({'commit': c}).lower()}" for c, names in sorted(rows.items())]
    return " ".join(
        [*named, "The others: made by code that did not write down its commit."] if None in commits else named
    )


def markdown(table: Table, results: Mapping[str, Any], protocol: Mapping[str, Any]) -> str:
    """Return the table for people, the thriftiest engine first."""
    found: Curves = {title: one["curves"] for title, one in results.items()}
    counts, measurements = needed(found), protocol["measurements"]
    looks = [n for n in (10, 20, 40, 80, measurements) if n <= measurements]
    lines = [
        f"### Strategies on {table.about['network']}: {len(table.figures)} decisions, {len(found[RIVAL])} seeds",
        "",
        f"Median share of the table's hypervolume (speed-up above 1, drop below {protocol['worst_drop']:.3f}) after so "
        f"many measurements, and the median of the measurements to what {RIVAL} holds after {measurements}. The last "
        "column is the strategy's own computing time.",
        "",
        "| strategy | " + " | ".join(map(str, looks)) + f" | to {RIVAL}'s last | ms a proposal |",
        "|---" * (len(looks) + 3) + "|",
    ]
    for name in sorted(found, key=lambda n: (counts[n], n)):
        shares = [median(c[n - 1] for c in found[name]) if n <= len(found[name][0]) else None for n in looks]
        cells = ["" if s is None else f"{s:.3f}" for s in shares]
        reached = f"not in {len(found[name][0])}" if counts[name] == float("inf") else f"{counts[name]:g}"
        lines.append(f"| {name} | {' | '.join(cells)} | {reached} | {1000 * results[name]['seconds']:.0f} |")
    return "\n".join([*lines, "", f"Device of the table: {table.about['device']['cpu']}. {made(results)}", ""])


def picture(table: Table, found: Curves, path: Path) -> None:
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


class Comparison:
    """One table's results; what a former call with the same table, seeds and measurements found is kept."""

    def __init__(self, path: Path, out: Path, seeds: int, measurements: int) -> None:
        self.path, self.table = path, Table.load(path)
        self.stem = out / f"strategies-{self.table.about['network']}"
        self.protocol = {
            "table": zlib.crc32(path.read_bytes()), "seeds": seeds, "measurements": measurements,
            "worst_drop": self.table.worst_drop(WORST_DROP),
        }  # fmt: skip
        self.found = self._former()

    def _former(self) -> dict[str, Any]:
        file = self.stem.with_suffix(".json")
        former = json.loads(file.read_text()) if file.exists() else {}
        return former["found"] if former.get("protocol") == self.protocol else {}

    def add(self, title: str, pool: Executor) -> None:
        """Let an engine search, unless it has, and write down what it found."""
        if title in self.found:
            return
        self.found[title] = one = searched(self.path, title, self.protocol, pool)
        self.write()
        typer.echo(f"{self.stem.name} {title}: {median(c[-1] for c in one['curves']):.3f}", err=True)

    def curves(self) -> dict[str, Any]:
        return {title: one["curves"] for title, one in self.found.items()}

    def write(self) -> None:
        """Write the figures as they are so far."""
        record = {"about": dict(self.table.about), "protocol": self.protocol}
        if RIVAL in self.found:
            record["needed"] = {k: None if v == float("inf") else v for k, v in needed(self.curves()).items()}
        write_text(self.stem.with_suffix(".json"), json.dumps({**record, "found": self.found}) + "\n")

    def show(self) -> None:
        """Write the table and the picture for people."""
        write_text(self.stem.with_suffix(".md"), markdown(self.table, self.found, self.protocol))
        picture(self.table, self.curves(), self.stem.with_suffix(".png"))


def main(
    out: Annotated[Path, typer.Option(help="Where the results go.")] = HERE.parent / "results",
    seeds: int = 10,
    measurements: int = 200,
    only: Annotated[list[str] | None, typer.Option(help="Rows to take; repeat it for several.")] = None,
    processes: int = 2,
) -> None:
    """Let every strategy search every table."""
    unknown = set(only or ()) - set(ENGINES)
    if unknown:
        raise typer.BadParameter(f"no row '{min(unknown)}'; rows are {', '.join(ENGINES)}.")
    with workers(processes) as pool:
        for path in sorted(HERE.glob("*.json.gz")):
            comparison = Comparison(path, out, seeds, measurements)
            for title in [n for n in ENGINES if not only or n in {*only, RIVAL}]:
                comparison.add(title, pool)
            comparison.show()


if __name__ == "__main__":
    typer.run(main)
