"""Ways of rounding weights side by side: what a network keeps on each grid, scored from the file in its runtime."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from whet.bench.lines import Lines
from whet.bench.results import commit, made_by, write_result
from whet.compress.moments import inputs_of
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.compress.quantize.rounding import SAMPLES, input_moments
from whet.compress.quantize.weight_only import NETWORK, OFF, WeightOnly
from whet.core.net import Net
from whet.core.run import Progress, Run
from whet.core.space import Decision
from whet.core.target import Artifact, Target
from whet.core.task import Batches, Task, rows_of, split
from whet.data.bind import bind
from whet.data.rows import first_rows
from whet.graph.grids import EXACT_BITS
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.targets import Settings, setting_name
from whet.verdict.file_net import BATCH
from whet.verify.equivalence import evaluate

ORIGINAL = "float"
CORRECTED = "nearest, biases by norms"
WAYS = {name: WeightOnly(rounding=name) for name in (NEAREST, *ROUNDERS)} | {
    CORRECTED: WeightOnly(rounding=NEAREST, corrected=True)
}
"""The rows of each grid."""


def works(target: Target, net: Net) -> list[tuple[str, str]]:
    """Return the grids and ways of rounding of the table; with eight bits weights are rounded to nearest in any."""
    grids = WeightOnly().grids()
    offered = next((c.values for c in WeightOnly().space(net, target) if c.name == NETWORK), ())
    found = [(OFF, NEAREST)]
    for name in (str(v) for v in offered if v in grids):
        found += [(name, way) for way in ((NEAREST, CORRECTED) if grids[name].bits >= EXACT_BITS else WAYS)]
    return found


def run(
    net: Net, task: Task, target: str, out: Path, results: Path, progress: Progress, validation: int = 2000
) -> dict[str, Any]:
    """Round all weights of a network in every way, score each file, write JSON and Markdown.

    Rows that the same code made before, with as many validation samples, are not made again.
    """
    task, chosen, made = bind(task, net), targets.get(target), commit()
    setting = next(s for s in chosen.all_settings() if s["precision"] == "f32")
    work = Run(task, chosen, net)
    lines = Lines(out / f"quantize-{task.name}-{net.name}.jsonl")
    val = samples(task.val, validation)
    score = partial(_scored, net, task, chosen, setting, val)
    rows, moments_seconds = [], 0.0
    known = lines.read()
    for grid, way in works(chosen, net):
        key = f"{made}: {grid}, {way}, {validation}"
        if key not in known:
            progress({"stage": f"{grid}, {way}"})
            moments_seconds = moments_seconds or _seconds(lambda: input_moments(net, work))
            known[key] = row(net, work, grid, way, moments_seconds, score)
            lines.append(key, known[key])
        rows.append(known[key])
    table = {
        "task": task.name, "network": net.name, "metric": task.metric_name, "direction": task.direction,
        "setting": setting_name(setting), "validation_samples": sum(rows_of(x) for x, _ in val),
        "rows": rows, "device": fingerprint().to_dict(), "commit": made,
    }  # fmt: skip
    write_result(results / f"quantize-{task.name}-{net.name}", table, markdown(table))
    return table


def row(
    net: Net, work: Run, grid: str, way: str, moments_seconds: float, score: Callable[[Net], tuple[float, int]]
) -> dict[str, Any]:
    """Return one row: a network whose weights are all on a grid, rounded in one way, and what it took.

    The moments of calibration inputs are taken once for all rows; each that needs them is charged for them.
    """
    start = time.process_time()
    result = WAYS[way].apply(net, Decision({NETWORK: grid}), work)
    seconds = time.process_time() - start
    calibrated = WAYS[way].rounding != NEAREST
    quality, size = score(result.net)
    return {
        "grid": grid, "rounding": way if grid != OFF else ORIGINAL, "quality": quality, "size_bytes": size,
        "seconds": round(seconds + (moments_seconds if calibrated else 0.0), 2),
        "calibration_samples": sum(len(x[0]) for x in inputs_of(work.task, SAMPLES)) if calibrated else 0,
        "layers": len(result.changed), "to_nearest": sum("to nearest" in c.text for c in result.changed),
        "skipped": result.skipped if grid != OFF else {},
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
    net: Net, task: Task, target: Target, setting: Settings, val: list[Any], small: Net
) -> tuple[float, int]:  # fmt: skip
    """Return the metric of a network's file in its runtime, and the bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = Artifact(target.save(small.eval(), Path(folder) / "model"), dict(setting))
        outputs, wanted = evaluate(partial(target.open, artifact), val, BATCH, net)
        return task.score(outputs, wanted), artifact.size_bytes


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"### {table['network']} on {table['task']}: weights rounded, nothing trained",
        "",
        f"All weights on one grid, inputs and sums in floats. {table['metric'].capitalize()}: of the saved file in "
        f"`{table['setting']}`, on {table['validation_samples']:,} validation samples. Seconds are of processor time, "
        "calibration included. No latency is measured, so that the table can be made on a busy machine: rounded "
        "weights change a file's size. With eight bits all ways round to nearest. Bold: the best of a grid.",
        "",
        f"| weights | rounding | {table['metric']} | bytes | seconds | calibration samples | layers, to nearest |",
        "|---|---|---|---|---|---|---|",
    ]
    best = {r["grid"]: _best(table, r["grid"]) for r in table["rows"]}
    for r in table["rows"]:
        several = len({other["quality"] for other in table["rows"] if other["grid"] == r["grid"]}) > 1
        quality = f"{r['quality']:.4f}"
        quality = f"**{quality}**" if several and r["quality"] == best[r["grid"]] else quality
        lines.append(
            f"| {r['grid']} | {r['rounding'] if r['grid'] != OFF else ''} | {quality} | {r['size_bytes']:,} "
            f"| {r['seconds']:.1f} | {r['calibration_samples'] or 'none'} | {r['layers']}, {r['to_nearest']} |"
        )
    device = table["device"]
    return "\n".join([*lines, "", f"Device: {device.get('cpu', device)}. {made_by(table)}", ""])


def _best(table: dict[str, Any], grid: str) -> float:
    found = [float(r["quality"]) for r in table["rows"] if r["grid"] == grid]
    return max(found) if table["direction"] == "max" else min(found)
