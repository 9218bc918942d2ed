"""Ways of quantizing side by side: what a network keeps, scored from the file in its runtime, its bytes, its speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.bench.results import origin
from whet.bench.scored import Scored, best_of, speed_text
from whet.compress.moments import inputs_of
from whet.compress.quantize import dynamic, expansion, safety_guided, static, vector_wise
from whet.compress.quantize.allocation import ENGINES
from whet.compress.quantize.distilled import DISTILLED, undistillable
from whet.compress.quantize.dynamic import DynamicQuantization
from whet.compress.quantize.expansion import Expansion
from whet.compress.quantize.mixed_bits import BITS, WITHIN, MixedBits
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.compress.quantize.rounding import SAMPLES, input_moments
from whet.compress.quantize.safety_guided import SafetyGuided
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.vector_wise import VectorWise
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.run import Progress, Run
from whet.core.space import Decision, Space
from whet.core.target import Target
from whet.core.task import Task
from whet.graph.grids import EXACT_BITS

ORIGINAL = "float"
CORRECTED = "nearest, biases by norms"
EVENED, MADE = "nearest, equalized, biases by norms", "compensated, distilled data"
ROUNDINGS = {name: WeightOnly(rounding=name) for name in (NEAREST, *ROUNDERS)} | {
    CORRECTED: WeightOnly(rounding=NEAREST, corrected=True),
    EVENED: WeightOnly(rounding=NEAREST, equalized=True, corrected=True),
    MADE: WeightOnly(calibration=DISTILLED),
}
"""The ways of putting weights on a grid of few bits."""
PRODUCTS: dict[str, tuple[str, Pass, dict[str, Any]]] = (
    {
        f"{name}, {scope}": (name, StaticQuantization(weight_bits=bits), {static.NETWORK: value})
        for name, bits in (("w8a8", 8), ("w4a8", 4), ("w3a8", 3))
        for scope, value in (("symmetric", "all"), ("asymmetric", "asymmetric"))
    }
    | {
        f"{name}, symmetric": (name, StaticQuantization(weight_bits=bits, group=16), {static.NETWORK: "all"})
        for name, bits in (("w4a8 in groups of 16", 4), ("w3a8 in groups of 16", 3))
    }
    | {
        f"a8 of {count} points, symmetric": (
            f"a8 of {count} points",
            StaticQuantization(points=count),
            {static.NETWORK: "all"},
        )
        for count in (15, 7)
    }
    | {
        f"a8 of {count} points, symmetric, by a power": (
            f"a8 of {count} points",
            StaticQuantization(points=count, spaced="by-power"),
            {static.NETWORK: "all"},
        )
        for count in (15, 7)
    }
    | {
        "w8a8, symmetric, equalized": ("w8a8", StaticQuantization(equalized=True), {static.NETWORK: "all"}),
        "w8a8, symmetric, distilled data": ("w8a8", StaticQuantization(calibration=DISTILLED), {static.NETWORK: "all"}),
        "w8a8, ranges of each call": ("w8a8 dynamic", DynamicQuantization(), {dynamic.NETWORK: dynamic.ALL}),
        "w8a8, outliers in floats": ("w8a8 by rows", VectorWise(), {vector_wise.NETWORK: vector_wise.INT8}),
    }
)
"""Products of integers: weights of so many bits, inputs of eight, on calibrated ranges or on those of each call."""
SHARES = {f"bits by {name}": MixedBits(engine=name) for name in ENGINES}
"""The engines that share the bits of one grid out among layers."""
EXPANSIONS = {"all channels": Expansion(), "half of the channels": Expansion(share=0.5)}
"""Which channels have more than one term."""
GUARDS = {"zeros and grids, guarded": SafetyGuided()}
"""What preserved samples allow."""
SECONDS_EACH = 0.5
"""How long each file is timed in each setting."""


@dataclass(frozen=True)
class Way:
    """A pass with a decision for a whole network; `format` is what the file holds, which its speed depends on."""

    format: str
    how: str
    item: Pass
    decision: Decision

    @property
    def key(self) -> str:
        """How rows are told apart."""
        return f"{self.format}, {self.how}"


def ways(target: Target, net: Net) -> list[Way]:
    """Return the rows of the table; with eight bits weights are rounded to nearest in any."""
    grids = WeightOnly().grids()
    found = [Way(ORIGINAL, "", ROUNDINGS[NEAREST], Decision())]
    for name in (v for v in _offered(WeightOnly().space(net, target), NETWORK) if v in grids):
        some = (NEAREST, CORRECTED, EVENED) if grids[name].bits >= EXACT_BITS else ROUNDINGS
        found += [Way(name, how, ROUNDINGS[how], Decision({NETWORK: name})) for how in some]
    for how, (name, item, values) in PRODUCTS.items():
        ((choice, value),) = values.items()
        if value in _offered(item.space(net, target), choice):
            found.append(Way(name, how.partition(", ")[2], item, Decision(values)))
    found += _of_choices(net, target, SHARES, BITS, "shared out", WITHIN)
    found += _of_choices(net, target, EXPANSIONS, expansion.NETWORK, "a sum", "")
    found += _of_choices(net, target, GUARDS, safety_guided.NETWORK, "moved at most", "")
    makes = not undistillable(net)
    return [way for way in found if makes or getattr(way.item, "calibration", "") != DISTILLED]


def _of_choices(
    net: Net, target: Target, items: Mapping[str, Pass], choice: str, form: str, but: str
) -> list[Way]:  # fmt: skip
    """Return each value of a choice, but for its identity and one that is no format, in the way of each item."""
    offered = _offered(next(iter(items.values())).space(net, target), choice)[1:]
    values = [value for value in offered if value != but]
    return [Way(f"{v}, {form}", how, x, Decision({choice: v})) for v in values for how, x in items.items()]


def _offered(space: Space, choice: str) -> list[str]:
    return [str(v) for c in space if c.name == choice for v in c.values]


def run(
    net: Net, task: Task, target: str, out: Path, results: Path, progress: Progress, validation: int = 2000,
    seconds_each: float = SECONDS_EACH, only: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Quantize a whole network in every way, score each file, time each format, write JSON and Markdown.

    Rows that the same code made before, with as many validation samples, are not made again. All formats are timed in
    one race at the end, each file in all settings; with no `seconds_each` nothing is timed. Of rows that hold none of
    the words `only`, none is made, but for the original's.
    """
    work = Scored.of("quantize", net, task, target, out, validation)
    asked = [w for w in ways(work.target, net) if w.format == ORIGINAL or not only or any(o in w.key for o in only)]
    every, taken = {way.key: way for way in asked}, list[float]()

    def make(key: str) -> dict[str, Any]:
        if not taken:
            taken.append(_seconds(lambda: input_moments(net, work.run)))
        return row(work, every[key], taken[0])

    rows = work.rows(every, make, progress)
    speeds = _raced(work, list(every.values()), seconds_each, progress) if seconds_each else {}
    return work.write(results, [r | speeds.get(r["format"], {}) for r in rows], markdown)


def row(work: Scored, way: Way, moments_seconds: float) -> dict[str, Any]:
    """Return one row: a network quantized in one way, and what it took.

    The moments of calibration inputs are taken once for all roundings; each that needs them is charged for them.
    """
    start = time.process_time()
    result, path = written(work, way)
    seconds = time.process_time() - start
    moments = isinstance(way.item, WeightOnly | MixedBits) and way.item.rounding != NEAREST
    calibrated = moments or bool(way.item.traits.needs)
    made = getattr(way.item, "calibration", "") == DISTILLED
    quality, size = work.score(path)
    return {
        "format": way.format, "how": way.how, "quality": quality, "size_bytes": size,
        "seconds": round(seconds + (moments_seconds if moments else 0.0), 2),
        "calibration_samples": _samples(work.run) if calibrated and not made else 0,
        "layers": len(result.changed), "to_nearest": sum("to nearest" in c.text for c in result.changed),
        "skipped": result.skipped if way.decision else {},
    }  # fmt: skip


def _samples(work: Run) -> int:
    return sum(len(x[0]) for x in inputs_of(work.task, SAMPLES))


def written(work: Scored, way: Way) -> tuple[Result, Path]:
    """Quantize a network in one way and write its file."""
    result = way.item.apply(work.net, way.decision, work.run)
    return result, work.save(result.net, way.key)


def _raced(work: Scored, every: list[Way], seconds_each: float, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return by format how many times as fast as the original in its fastest setting its file is in its own fastest."""
    files = dict[str, Path]()
    for way in every:
        if way.format not in files:
            path = work.place(way.key) / "model.onnx"
            files[way.format] = path if path.exists() else written(work, way)[1]
    progress({"stage": "the race of all formats"})
    return work.race(files, ORIGINAL, seconds_each)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"### {table['network']} on {table['task']}: quantized as a whole, nothing trained",
        "",
        f"{table['metric'].capitalize()}: of the saved file in `{table['setting']}`, on "
        f"{table['validation_samples']:,} validation samples. Weights alone on a grid, or with inputs on grids of "
        "eight bits (a8), so that integers are multiplied. Shared out: no more bits than if all layers had this grid. "
        "Speed: the format's file in its fastest setting over the original in its fastest, all in one race, quartiles "
        "in brackets; ways of rounding do not change it. Seconds are of processor time, calibration included. Bold: "
        "the best of a format.",
        "",
        f"| format | how | {table['metric']} | bytes | speed | seconds | calibration samples | layers, to nearest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    best = {form: best_of(_of(table, form), "quality", table["direction"]) for form in _formats(table)}
    for r in table["rows"]:
        several = len({other["quality"] for other in _of(table, r["format"])}) > 1
        quality = f"{r['quality']:.4f}"
        quality = f"**{quality}**" if several and r["quality"] == best[r["format"]] else quality
        lines.append(
            f"| {r['format']} | {r['how']} | {quality} | {r['size_bytes']:,} | {speed_text(r)} | {r['seconds']:.1f} "
            f"| {r['calibration_samples'] or 'none'} | {r['layers']}, {r['to_nearest']} |"
        )
    return "\n".join([*lines, "", origin(table), ""])


def _formats(table: dict[str, Any]) -> set[str]:
    return {r["format"] for r in table["rows"]}


def _of(table: dict[str, Any], form: str) -> list[dict[str, Any]]:
    return [r for r in table["rows"] if r["format"] == form]
