"""Ways of making a network smaller side by side: cut or factorized, solved, trained for the same number of samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet import catalogue
from whet.bench.results import origin
from whet.bench.scored import Scored, best_of, speed_text
from whet.compress.importances import IMPORTANCES
from whet.compress.prune.magnitude import MAGNITUDE, PRUNERS
from whet.compress.repair import Repair
from whet.core.checks import positive
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.run import Progress
from whet.core.space import Decision
from whet.core.task import rows_of, split
from whet.graph.empty import without_empty
from whet.graph.operations import total_operations
from whet.tasks.bundle import Bundle
from whet.train.recipe import Recipe

ORIGINAL, TRAINED_ON = "original", "original, trained on"
CHANNELS, WEIGHTS, RANKS = "channels", "weights", "ranks"
CHANNEL_LEVELS, WEIGHT_LEVELS, RANK_LEVELS = (0.5, 0.75), (0.8, 0.95, 0.98), (0.25, 0.5)
"""The shares of channels, weights and multiply-accumulates that go."""
RANK_TECHNIQUES = ("ordered-ranks", "dynamical-ranks")
"""Techniques that choose ranks below those that the first pass of low rank gave."""
SECONDS_EACH = 0.5
"""How long each file is timed in each setting."""


@dataclass(frozen=True)
class Way:
    """One row: the words of a pass with the values of its choices, or of a technique that takes part in the training.

    `level` is the share that goes. Files of one `kind` and level that a pass makes have the same shapes, and one of
    them is timed for all; a technique chooses shapes for itself.
    """

    kind: str
    how: str
    level: float = 0.0
    item: str = ""
    value: float | None = None
    technique: str = ""

    @property
    def key(self) -> str:
        """How rows are told apart."""
        return f"{self.kind}, {self.how}, {self.level:g}" if self.level else self.how

    @property
    def timed_as(self) -> str:
        """Which rows share a speed."""
        alike = f"{self.kind}, {self.level:g}" if self.item and self.kind != RANKS else self.key
        return self.key if not self.level else alike


def pruning() -> list[Way]:
    """Return the rows of `whet bench prune`: importances of channels, choices of weights, techniques of both."""
    found = [Way(ORIGINAL, ORIGINAL), Way(ORIGINAL, TRAINED_ON)]
    for level in CHANNEL_LEVELS:
        left = 1 - level
        words = f"width(fractions=({left}, 1.0), tie='network', streams=False, importance='{{}}')"
        found += [Way(CHANNELS, name, level, words.format(name), left) for name in IMPORTANCES]
        merged = f"merging(fractions=({left}, 1.0), tie='network', streams=False)"
        found.append(Way(CHANNELS, "merging", level, merged, left))
        for name in ("half-space", "trained-gates", "polarized-gates"):
            found.append(Way(CHANNELS, name, level, technique=f"{name}(share={level})"))
    for level in WEIGHT_LEVELS:
        words = f"magnitude(levels=(0.0, {level}), by='{{}}')"
        found += [Way(WEIGHTS, name, level, words.format(name), level) for name in (MAGNITUDE, *PRUNERS)]
        for name in ("gradual-pruning", "global-sparse-momentum"):
            found.append(Way(WEIGHTS, name, level, technique=f"{name}(share={level})"))
    return found


def factorizing() -> list[Way]:
    """Return the rows of `whet bench factorize`: every pass of low rank, and the techniques that choose ranks."""
    found = [Way(ORIGINAL, ORIGINAL), Way(ORIGINAL, TRAINED_ON)]
    rows = [
        m.name.partition(".")[2] for m in catalogue.METHODS if m.name.startswith("factorize.") and m.family == "pass"
    ]
    for level in RANK_LEVELS:
        left = 1 - level
        found += [Way(RANKS, name, level, f"{name}(fractions=({left}, 1.0))", left) for name in rows]
        first = found[-len(rows)]
        found += [replace(first, how=name, technique=f"{name}()") for name in RANK_TECHNIQUES]
    return found


SUITES: dict[str, Callable[[], list[Way]]] = {"prune": pruning, "factorize": factorizing}
TITLES = {
    "prune": "parts taken off",
    "factorize": "layers as products of smaller ones",
}


def run(
    net: Net, bundle: Bundle, suite: str, target: str, out: Path, results: Path, progress: Progress,
    epochs: float = 1.0, validation: int = 2000, seconds_each: float = SECONDS_EACH,
) -> dict[str, Any]:  # fmt: skip
    """Make a network smaller in every way of a suite, train each for `epochs`, score and time the files, write a table.

    Without epochs, and without training data, nothing is trained. Rows that the same code made before are not made
    again; with no `seconds_each` nothing is timed.
    """
    positive("epochs", epochs, zero=True)
    work = Scored.of(suite, net, bundle.task, target, out, validation)
    samples = _samples(work, epochs)
    every = {way.key: way for way in SUITES[suite]() if samples or not (way.technique or way.how == TRAINED_ON)}
    keys = {f"{key}, {samples} samples": way for key, way in every.items()}
    rows = work.rows(keys, lambda key: row(work, keys[key], bundle.recipe, samples, progress), progress)
    speeds = _raced(work, list(every.values()), seconds_each, progress) if seconds_each else {}
    rows = [r | speeds.get(w.timed_as, {}) for r, w in zip(rows, every.values(), strict=True)]
    more = {"suite": suite, "samples": samples, "epochs": epochs, "original_operations": total_operations(net)}
    return work.write(results, rows, markdown, **more)


def _samples(work: Scored, epochs: float) -> int:
    if work.task.train is None or not epochs:
        return 0
    return math.ceil(epochs * sum(rows_of(split(b)[0]) for b in work.task.train))


def row(work: Scored, way: Way, recipe: Recipe, samples: int, progress: Progress) -> dict[str, Any]:
    """Return one row: what a way leaves before and after training, in the file, and what it took."""
    start = time.process_time()
    result = made(work, way)
    seconds = time.process_time() - start
    at_once = None
    if not way.technique:
        at_once, size = work.score(work.save(result.net, way.key))
    net, report = result.net, None
    if samples and way.how != ORIGINAL:
        items = tuple(catalogue.make(words, "training") for words in (way.technique,) if words)
        recipe = replace(recipe, techniques=(*recipe.techniques, *items))
        report = work.run.fit(net, recipe=recipe, samples=samples, teacher=work.net, progress=progress)
        net = without_empty(net) if way.technique and way.kind != WEIGHTS else net
    trained, size = work.score(work.save(net, way.key)) if report else (None, size)
    return {
        "kind": way.kind, "how": way.how, "level": way.level, "quality_at_once": at_once, "quality": trained,
        "size_bytes": size, "operations": total_operations(net) / total_operations(work.net),
        "seconds": round(seconds, 2), "training_seconds": round(report.seconds, 1) if report else 0.0,
        "layers": len({c.site for c in result.changed}), "skipped": result.skipped,
    }  # fmt: skip


def made(work: Scored, way: Way) -> Result:
    """Return the network as a pass cut it and as it was solved after that; as it is where there is none."""
    if not way.item:
        return Result(work.net.copy())
    item = catalogue.make(way.item, "pass")
    assert way.value is not None
    chosen = {c.name: way.value for c in item.space(work.net, work.target)}
    result: Result = item.apply(work.net, Decision(chosen), work.run)
    return result.then(replace(Repair().apply(result.net, Decision(), replace(work.run, teacher=work.net)), changed=()))


def _raced(work: Scored, every: Sequence[Way], seconds_each: float, progress: Progress) -> dict[str, dict[str, Any]]:
    files = {way.timed_as: work.place(way.key) / "model.onnx" for way in reversed(every)}
    missing = [way.key for way in every if way.timed_as == way.key and not files[way.timed_as].exists()]
    if missing:
        raise FileNotFoundError(f"the file of '{missing[0]}' is gone, which its row was made of: remove {work.out}.")
    progress({"stage": "the race of all shapes"})
    return work.race(files, ORIGINAL, seconds_each)


def markdown(table: Mapping[str, Any]) -> str:
    """Return the table for people."""
    trained = f"trained for {table['samples']:,} samples ({table['epochs']:g} epochs)" if table["samples"] else "nothing trained"  # fmt: skip  # noqa: E501
    lines = [
        f"### {table['network']} on {table['task']}: {TITLES[table['suite']]}, {trained}",
        "",
        f"{table['metric'].capitalize()}: of the saved file in `{table['setting']}`, on "
        f"{table['validation_samples']:,} validation samples; at once: cut and solved on calibration inputs; trained: "
        "after the same samples for every row, by the task's recipe and with the original as teacher. What goes: the "
        "share of channels (of groups inside of blocks), of weights, or of multiply-accumulates of the layers that "
        "have lower rank. Operations: the share of multiply-accumulates that is left; zeros among weights spare none. "
        f"{_how_timed(table['rows'])} Seconds: of processor time, to make it; to train it. "
        "Bold: the best of its kind and level.",
        "",
        f"| kind | what goes | how | {table['metric']} at once | trained | bytes | operations | speed | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        alike = [x for x in table["rows"] if (x["kind"], x["level"]) == (r["kind"], r["level"])]
        figures = [_marked(r, alike, name, table["direction"]) for name in ("quality_at_once", "quality")]
        what = f"{r['level']:.0%}" if r["level"] else ""
        kind = r["kind"] if r["level"] else ""
        lines.append(
            f"| {kind} | {what} | {r['how']} | {figures[0]} | {figures[1]} | {r['size_bytes']:,} "
            f"| {r['operations']:.0%} | {speed_text(r)} | {r['seconds']:.1f}, {r['training_seconds']:.0f} |"
        )
    return "\n".join([*lines, "", origin(table), ""])


def _how_timed(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any("speedup" in row for row in rows):
        return "Speeds were not measured."
    return "Speed: of one file of these shapes, in its fastest setting, over the original in its fastest, in one race."


def _marked(row: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], name: str, direction: str) -> str:
    if row[name] is None:
        return ""
    best = best_of(alike, name, direction)
    return f"**{row[name]:.4f}**" if row["level"] and row[name] == best else f"{row[name]:.4f}"
