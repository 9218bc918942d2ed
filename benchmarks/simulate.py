"""Searches on recorded curves, whose clock is made up: what a schedule's constants and strategies are worth.

    python benchmarks/simulate.py --network digits_cnn --budget 3min --seeds 20
    python benchmarks/simulate.py --network digits_cnn --budget 3min --set recovery.SPARE=0.8 --set recovery.SPARE=1.0
    python benchmarks/simulate.py --network digits_cnn --budget 3min --budget 20min --strategy tpe --strategy random
    python benchmarks/simulate.py --constants --budget 3min --seeds 20

Each `--set` is a row beside that of the schedule as it stands; so is each `--strategy`. `--constants` takes every
constant of `whet.schedule` at half to twice its value, and some strategies, and writes
`benchmarks/results/schedule-constants.md`; `--real` shows what `whet optimize --json` found beside it. What was
searched is kept in `--out` by the code and the table that made it: killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from whet.bench.lines import Lines
from whet.bench.results import commit, made_by, write_result
from whet.bench.simulation.constants import changed, constants, parsed, scaled
from whet.bench.simulation.curves import Curves
from whet.bench.simulation.landscape import Landscape
from whet.flow.quantities import seconds
from whet.search.predictors import gaussian_process
from whet.search.strategies import sensitivity

HERE = Path(__file__).parent
STRATEGIES = ("sensitivity", "bayesian", "bandits", "random")
CODE = ("schedule", "search", "decisions", "bench/simulation")
"""The folders of whet whose code makes the outcome of a simulated search."""
FACTORS = (0.5, 0.75, 1.5, 2.0)
TOGETHER, EPOCHS, RATES = "candidates that train together", "budgets in epochs", "learning rates"
UNSIMULATED = {
    "chain": TOGETHER, "legs": TOGETHER, "together": TOGETHER, "plan.elastic_until": TOGETHER,
    "plan.elastic_explore_share": TOGETHER, "plan.usual_rounds": EPOCHS, "rounds.GENTLE": RATES,
    "rounds.SETTLED": RATES, "rounds.FINDING": "looking for recipes", "settling": "choices layer by layer",
    "clock.SETTLING_SHARE": "choices layer by layer", "probes.FEWER": "searches that train nothing",
    "beliefs.UNLIMITED": "searches without a limit", "goal.TYPICAL_DROP": "searches without a limit",
    "clock.TRAINED_SECONDS": "what the user is told", "history.UNMET": "limits of size and memory",
    "history.IN_A_ROW": "failures", "foretold.IDLE": "what the table was made with",
}  # fmt: skip
"""What no table tells of, by file or constant: what the constant is for."""
RESAMPLED = 2000


@dataclass(frozen=True)
class Variant:
    """A row: constants that have another value, and the strategy."""

    settings: tuple[tuple[str, Any], ...] = ()
    strategy: str = "improvement"

    @property
    def title(self) -> str:
        """What differs from the schedule as it stands."""
        words = [f"{name}={value!r}" for name, value in self.settings]
        return ", ".join(words + [self.strategy] * (self.strategy != "improvement")) or "as it stands"


def remember_solutions() -> None:
    """Keep what integer programmes and processes were solved to: searches that differ in one constant begin alike."""
    solve: Any = sensitivity.by_integer_programme
    solved = cache(lambda gains, harms, budget: solve(gains, harms, budget))
    as_key: Callable[[Any], Any] = lambda rows: tuple(tuple(float(x) for x in row) for row in rows)  # noqa: E731
    sensitivity.by_integer_programme = lambda g, h, b: list(solved(as_key(g), as_key(h), float(b)))
    process: Any = gaussian_process.GaussianProcess
    fit, known = process.fit, dict[bytes, Any]()

    def fitted(self: Any, features: Any, values: Any) -> Any:
        key = np.asarray(features).tobytes() + b"|" + np.asarray(values).tobytes()
        if key not in known:
            known[key] = fit(self, features, values)._model
        self._model = known[key]
        return self

    process.fit = fitted


def digest(table: Path) -> str:
    """Return a digest of the code and of the table that make the outcome of a search."""
    files = [path for folder in CODE for path in sorted((HERE.parent / "whet" / folder).rglob("*.py"))]
    return sha256(b"".join(path.read_bytes() for path in [*files, table])).hexdigest()[:12]


class Searches:
    """The searches of one network's table; what is done is kept."""

    def __init__(self, network: str, out: Path) -> None:
        path = HERE / "tables" / "curves" / f"{network}.json.gz"
        self.network, self.curves = network, Curves.load(path)
        self.landscape = Landscape(self.curves)
        self.lines = Lines(out / f"{network}-{digest(path)}.jsonl")
        self.known = self.lines.read()

    def of(self, variant: Variant, budget: str, seeds: int, until: float) -> list[dict[str, Any]]:
        """Return what a variant finds with each seed; what was not searched before `until` is left out."""
        keys = [f"{variant.title} | {budget} | {seed}" for seed in range(seeds)]
        left = [(seed, key) for seed, key in enumerate(keys) if key not in self.known]
        if left:
            with changed(dict(variant.settings)) as simulator:
                for seed, key in left:
                    if time.monotonic() > until:
                        break
                    found = simulator.simulate(self.landscape, seconds(budget), seed, variant.strategy)
                    self.known[key] = {
                        "speedup": round(found.speedup, 4), "drop": round(found.drop, 5), "trials": found.trials,
                        "trained": found.trained, "seconds": round(found.seconds, 2),
                    }  # fmt: skip
                    self.lines.append(key, self.known[key])
        return [self.known[key] for key in keys if key in self.known]


def difference(row: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Return the median ratio of a row's speed-ups to the base's, seed by seed, and its 90 % interval by resampling."""
    ratios = [a / b for a, b in zip(row, base, strict=False)]
    generator = random.Random(0)
    drawn = sorted(median(generator.choices(ratios, k=len(ratios))) for _ in range(RESAMPLED))
    return median(ratios), drawn[int(0.05 * RESAMPLED)], drawn[int(0.95 * RESAMPLED)]


def spread(speeds: Sequence[float]) -> str:
    """Return the median and the quartiles."""
    low, middle, high = quantiles(speeds, n=4) if len(speeds) > 1 else [speeds[0]] * 3
    return f"x{middle:.2f} ({low:.2f}-{high:.2f})"


def table(searches: Searches, variants: Sequence[Variant], budgets: Sequence[str], seeds: int) -> str:
    """Return rows of what variants find, beside the first one."""
    lines = [
        f"| {searches.network} | budget | speed-up, median (quartiles) | beside the first, median (90 %) | all |",
        "|---|---|---|---|---|",
    ]
    for budget in budgets:
        base: list[float] = []
        for variant in variants:
            began = time.monotonic()
            speeds = [one["speedup"] for one in searches.of(variant, budget, seeds, float("inf"))]
            base = base or speeds
            middle, low, high = difference(speeds, base)
            beside = f"{middle:.3f} ({low:.3f}-{high:.3f})" if variant != variants[0] else ""
            each = " ".join(f"{s:.2f}" for s in sorted(speeds))
            lines.append(f"| {variant.title} | {budget} | {spread(speeds)} | {beside} | {each} |")
            print(lines[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    return "\n".join(lines)


# -- every constant --------------------------------------------------------------------------------------------------


def unsimulated(name: str) -> str:
    """Return why a constant makes no difference here, or nothing."""
    return UNSIMULATED.get(name, UNSIMULATED.get(name.partition(".")[0], ""))


def sweep(searches: Sequence[Searches], budgets: Sequence[str], seeds: Sequence[int], until: float) -> dict[str, Any]:
    """Return by network, budget and constant what each value finds, as far as there is time.

    Later budgets try what makes a difference at the first one: values whose interval there does not hold 1.
    """
    found = dict[str, Any]()
    for one in searches:
        wanted = [(n, v) for n, value in constants().items() if not unsimulated(n) for v in _values(value)]
        for budget, count in zip(budgets, seeds, strict=True):
            rows = found.setdefault(one.network, {}).setdefault(budget, {})
            base = rows[""] = {"as it stands": one.of(Variant(), budget, count, until)}
            if len(base["as it stands"]) < count:  # no time
                del found[one.network][budget]
                break
            rows["strategy"] = {name: one.of(Variant((), name), budget, count, until) for name in STRATEGIES}
            for name, text in wanted:
                got = one.of(Variant((parsed(f"{name}={text}"),)), budget, count, until)
                if len(got) == len(base["as it stands"]):
                    rows.setdefault(name, {})[text] = got
            wanted = [(n, v) for n, v in wanted if "**" in _cell(rows, n, v)]
    return found


def _values(value: Any) -> list[str]:
    """Return what is tried of a constant, but for what it is."""
    tried = dict.fromkeys(repr(scaled(value, factor)) for factor in FACTORS)
    return [text for text in tried if text != repr(value)]


def markdown(found: Mapping[str, Any], decisions: Mapping[str, int], real: Sequence[Path] = ()) -> str:
    """Return the constants' table."""
    known = constants()
    lines = [
        "### The constants of the schedule on recorded curves", "",
        "Each constant at half to twice its value in simulated searches, all with the same seeds; shown is the median "
        "ratio of the speed-ups, seed by seed, to those of the schedule as it stands, with its 90 % interval. `=`: not "
        "one search came out different. **Bold**: the interval does not hold 1; of so many rows one in ten does by "
        "chance. What is not bold in the first column is not tried in the next. Recorded decisions: "
        f"{', '.join(f'{count} of {network}' for network, count in decisions.items())}.", "",
    ]  # fmt: skip
    columns = [(network, budget) for network, budgets in found.items() for budget in budgets]
    lines += ["| constant | value | tried | " + " | ".join(f"{n}, {b}" for n, b in columns) + " |"]
    lines += ["|---|---|---|" + "---|" * len(columns)]
    for network, budget in columns:
        speeds = [one["speedup"] for one in found[network][budget][""]["as it stands"]]
        each = " ".join(f"{s:.2f}" for s in sorted(speeds))
        lines.insert(-2, f"As it stands, {network}, {budget}, {len(speeds)} seeds: {spread(speeds)}: {each}.\n")
    for name, value in known.items():
        if unsimulated(name):
            continue
        for text in dict.fromkeys(t for n, b in columns for t in found[n][b].get(name, {})):
            cells = [_cell(found[n][b], name, text) for n, b in columns]
            lines.append(f"| {name} | `{value!r}` | `{text}` | " + " | ".join(cells) + " |")
    for name in STRATEGIES:
        cells = [_cell(found[n][b], "strategy", name) for n, b in columns]
        lines.append(f"| --strategy | improvement | {name} | " + " | ".join(cells) + " |")
    lines += ["", "Not simulated:", ""]
    lines += [f"- {name} = `{known[name]!r}`: {why}" for name in known if (why := unsimulated(name))]
    speeds = [f"x{json.loads(path.read_text())['front'][0]['speedup']:.2f} ({path.stem})" for path in real]
    lines += ["", f"Real searches: {', '.join(speeds)}."] if speeds else []
    return "\n".join([*lines, "", made_by({"commit": commit()}), ""])


def _speedups(found: Any) -> Any:
    """Return what was found with the speed-ups alone."""
    if isinstance(found, list):
        return [one["speedup"] for one in found]
    return {key: _speedups(each) for key, each in found.items()}


def _cell(rows: Mapping[str, Any], name: str, text: str) -> str:
    got = rows.get(name, {}).get(text)
    base = rows[""]["as it stands"]
    if got is None or len(got) < len(base):
        return ""
    if got == base:
        return "="
    middle, low, high = difference([g["speedup"] for g in got], [b["speedup"] for b in base])
    words = f"{middle:.3f} ({low:.3f}-{high:.3f})"
    return f"**{words}**" if low > 1 or high < 1 else words


def variants_of(asked: argparse.Namespace) -> Iterator[Variant]:
    yield Variant()
    for text in asked.set:
        yield Variant((parsed(text),))
    for name in asked.strategy:
        yield Variant((), name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", help="whose table; digits_cnn by default")
    parser.add_argument("--budget", action="append", help="may be given several times; 3min by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--later-seeds", type=int, default=8, help="with --constants, of every budget but the first")
    parser.add_argument("--set", action="append", default=[], metavar="FILE.NAME=VALUE")
    parser.add_argument("--strategy", action="append", default=[], help="a row for each")
    parser.add_argument("--constants", action="store_true", help="every constant at half to twice its value")
    parser.add_argument("--real", type=Path, action="append", default=[], help="what `whet optimize --json` printed")
    parser.add_argument("--held-out", action="store_true", help="print how well what was not fitted is forecast")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no search after so long")
    parser.add_argument("--out", type=Path, default=Path("runs/simulate"), help="where finished searches are kept")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    remember_solutions()
    budgets, networks = asked.budget or ["3min"], asked.network or ["digits_cnn"]
    until = time.monotonic() + 60 * asked.minutes
    with threadpool_limits(1):
        searches = [Searches(network, asked.out) for network in networks]
        if asked.held_out:
            for one in searches:
                for name, error in one.landscape.held_out().items():
                    print(f"{one.network}: {name}: {error:.3f}")
        elif asked.constants:
            found = sweep(searches, budgets, [asked.seeds, *[asked.later_seeds] * (len(budgets) - 1)], until)
            decisions = {one.network: len(one.curves.rows) for one in searches}
            text = markdown(found, decisions, asked.real)
            figures = {"speedups": _speedups(found), "decisions": decisions}
            write_result(asked.results / "schedule-constants", figures, text)
        else:
            for one in searches:
                table(one, list(variants_of(asked)), budgets, asked.seeds)


if __name__ == "__main__":
    main()
