"""Ways of quantizing side by side: what a network keeps, scored from the file in its runtime, its bytes, its speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whet.bench.lines import Lines
from whet.bench.results import commit, made_by, write_result
from whet.compress.moments import inputs_of
from whet.compress.quantize import dynamic, static
from whet.compress.quantize.dynamic import DynamicQuantization
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.compress.quantize.rounding import SAMPLES, input_moments
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.errors import TaskError
from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.run import Progress, Run
from whet.core.space import Decision, Space
from whet.core.target import Artifact, Target
from whet.core.task import Batches, Task, rows_of, split
from whet.data.bind import bind
from whet.data.rows import first_rows
from whet.graph.grids import EXACT_BITS
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.race import race
from whet.hardware.targets import Settings, setting_name
from whet.hardware.targets import inputs_of as sample_of
from whet.verdict.file_net import BATCH
from whet.verify.equivalence import evaluate

ORIGINAL = "float"
CORRECTED = "nearest, biases by norms"
ROUNDINGS = {name: WeightOnly(rounding=name) for name in (NEAREST, *ROUNDERS)} | {
    CORRECTED: WeightOnly(rounding=NEAREST, corrected=True)
}
"""The ways of putting weights on a grid of few bits."""
PRODUCTS: dict[str, tuple[str, Pass, dict[str, Any]]] = {
    f"{name}, {scope}": (name, StaticQuantization(weight_bits=bits), {static.NETWORK: value})
    for name, bits in (("w8a8", 8), ("w4a8", 4), ("w3a8", 3))
    for scope, value in (("symmetric", "all"), ("asymmetric", "asymmetric"))
} | {"w8a8, ranges of each call": ("w8a8 dynamic", DynamicQuantization(), {dynamic.NETWORK: dynamic.ALL})}
"""Products of integers: weights of so many bits, inputs of eight, on calibrated ranges or on those of each call."""
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
        some = (NEAREST, CORRECTED) if grids[name].bits >= EXACT_BITS else ROUNDINGS
        found += [Way(name, how, ROUNDINGS[how], Decision({NETWORK: name})) for how in some]
    for how, (name, item, values) in PRODUCTS.items():
        ((choice, value),) = values.items()
        if value in _offered(item.space(net, target), choice):
            found.append(Way(name, how.partition(", ")[2], item, Decision(values)))
    return found


def _offered(space: Space, choice: str) -> list[str]:
    return [str(v) for c in space if c.name == choice for v in c.values]


def run(
    net: Net, task: Task, target: str, out: Path, results: Path, progress: Progress, validation: int = 2000,
    seconds_each: float = SECONDS_EACH,
) -> dict[str, Any]:  # fmt: skip
    """Quantize a whole network in every way, score each file, time each format, write JSON and Markdown.

    Rows that the same code made before, with as many validation samples, are not made again. All formats are timed in
    one race at the end, each file in all settings; with no `seconds_each` nothing is timed.
    """
    if task.played is not None:
        raise TaskError(f"task '{task.name}' is played, and this table scores outputs: whet optimize plays its files.")
    task, chosen, made = bind(task, net), targets.get(target), commit()
    setting = next(s for s in chosen.all_settings() if s["precision"] == "f32")
    work = Run(task, chosen, net)
    lines, folder = Lines(out / f"quantize-{task.name}-{net.name}.jsonl"), out / f"quantize-{task.name}-{net.name}"
    val = samples(task.val, validation)
    score = partial(_scored, net, task, chosen, setting, val)
    known, rows, moments_seconds = lines.read(), [], 0.0
    every = ways(chosen, net)
    for way in every:
        key = f"{made}: {way.key}, {validation}"
        if key not in known:
            progress({"stage": way.key})
            moments_seconds = moments_seconds or _seconds(lambda: input_moments(net, work))
            known[key] = row(net, work, way, moments_seconds, score, folder)
            lines.append(key, known[key])
        rows.append(known[key])
    speeds = _raced(net, work, every, folder, seconds_each, progress) if seconds_each else {}
    table = {
        "task": task.name, "network": net.name, "metric": task.metric_name, "direction": task.direction,
        "setting": setting_name(setting), "validation_samples": sum(rows_of(x) for x, _ in val),
        "rows": [r | speeds.get(r["format"], {}) for r in rows], "device": fingerprint().to_dict(), "commit": made,
    }  # fmt: skip
    write_result(results / f"quantize-{task.name}-{net.name}", table, markdown(table))
    return table


def row(
    net: Net, work: Run, way: Way, moments_seconds: float, score: Callable[[Path], tuple[float, int]], folder: Path
) -> dict[str, Any]:
    """Return one row: a network quantized in one way, and what it took.

    The moments of calibration inputs are taken once for all roundings; each that needs them is charged for them.
    """
    start = time.process_time()
    result, path = written(net, work, way, folder)
    seconds = time.process_time() - start
    moments = isinstance(way.item, WeightOnly) and way.item.rounding != NEAREST
    calibrated = moments or isinstance(way.item, StaticQuantization)
    quality, size = score(path)
    return {
        "format": way.format, "how": way.how, "quality": quality, "size_bytes": size,
        "seconds": round(seconds + (moments_seconds if moments else 0.0), 2),
        "calibration_samples": sum(len(x[0]) for x in inputs_of(work.task, SAMPLES)) if calibrated else 0,
        "layers": len(result.changed), "to_nearest": sum("to nearest" in c.text for c in result.changed),
        "skipped": result.skipped if way.decision else {},
    }  # fmt: skip


def written(net: Net, work: Run, way: Way, folder: Path) -> tuple[Result, Path]:
    """Quantize a network in one way and write its file."""
    result = way.item.apply(net, way.decision, work)
    return result, work.target.save(result.net.eval(), folder / way.key.replace(" ", "-").replace(",", ""))


def _raced(
    net: Net, work: Run, every: list[Way], folder: Path, seconds_each: float, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Return by format how many times as fast as the original in its fastest setting its file is in its own fastest."""
    files = dict[str, tuple[Path, list[Settings]]]()
    settings = work.target.all_settings()
    for way in every:
        if way.format in files:
            continue
        path = folder / way.key.replace(" ", "-").replace(",", "") / "model.onnx"
        path = path if path.exists() else written(net, work, way, folder)[1]
        files[way.format] = path, settings
    progress({"stage": "the race of all formats"})
    found = race(work.target, sample_of(net), files, [ORIGINAL], seconds_each)
    return {
        name: {
            "speedup": x.ratio, "speedup_low": x.ratio_low, "speedup_high": x.ratio_high,
            "fastest_in": setting_name(found.settings[name]),
        }
        for name, x in found.latencies.items()
    }  # fmt: skip


def samples(batches: Batches, count: int) -> list[Any]:
    """Return the first `count` samples of batches, as batches `(inputs, targets)`."""
    found: list[Any] = []
    for inputs, wanted in map(split, batches):
        if count <= 0:
            break
        size = rows_of(inputs)
        found.append((tuple(x[:count] for x in inputs), first_rows(wanted, count, size)))
        count -= size
    return found


def _scored(
    net: Net, task: Task, target: Target, setting: Settings, val: list[Any], path: Path
) -> tuple[float, int]:  # fmt: skip
    """Return the metric of a network's file in its runtime, and the bytes of the file."""
    artifact = Artifact(path, dict(setting))
    outputs, wanted = evaluate(partial(target.open, artifact), val, BATCH, net)
    return task.score(outputs, wanted), artifact.size_bytes


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
        "eight bits (a8), so that integers are multiplied. Speed: the format's file in its fastest setting over the "
        "original in its fastest, all in one race, quartiles in brackets; ways of rounding do not change it. Seconds "
        "are of processor time, calibration included. Bold: the best of a format.",
        "",
        f"| format | how | {table['metric']} | bytes | speed | seconds | calibration samples | layers, to nearest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    best = {r["format"]: _best(table, r["format"]) for r in table["rows"]}
    for r in table["rows"]:
        several = len({other["quality"] for other in table["rows"] if other["format"] == r["format"]}) > 1
        quality = f"{r['quality']:.4f}"
        quality = f"**{quality}**" if several and r["quality"] == best[r["format"]] else quality
        lines.append(
            f"| {r['format']} | {r['how']} | {quality} | {r['size_bytes']:,} | {speed_text(r)} | {r['seconds']:.1f} "
            f"| {r['calibration_samples'] or 'none'} | {r['layers']}, {r['to_nearest']} |"
        )
    device = table["device"]
    return "\n".join([*lines, "", f"Device: {device.get('cpu', device)}. {made_by(table)}", ""])


def speed_text(row: dict[str, Any]) -> str:
    """Return the speed of a row's format with its spread and setting, or nothing where it was not timed.

    >>> speed_text({"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "fastest_in": "openvino/f32/1"})
    'x1.50 (1.40-1.60), openvino/f32/1'
    """
    if "speedup" not in row:
        return ""
    return f"x{row['speedup']:.2f} ({row['speedup_low']:.2f}-{row['speedup_high']:.2f}), {row['fastest_in']}"


def _best(table: dict[str, Any], form: str) -> float:
    found = [float(r["quality"]) for r in table["rows"] if r["format"] == form]
    return max(found) if table["direction"] == "max" else min(found)
