"""Cut, solve, score: what each importance keeps and what repair gives back, without training.

    python benchmarks/repair.py --out benchmarks/results

One row a network, share kept and importance: the metric on validation data of the cut network, of the cut network with
batch-norm statistics estimated again, and of the repaired one. Cut are all groups that are no residual streams.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import whet
from whet.bench.results import commit, origin, write_result
from whet.compress.importance import Frozen
from whet.compress.repair import Repair, output_error, reference_of, repaired
from whet.compress.width import Width, is_stream
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.task import Task, predict
from whet.data.bind import bind
from whet.graph.axes import analyze
from whet.hardware.device import fingerprint
from whet.tasks import get
from whet.testing.runs import AlignedTarget
from whet.train.recalibrate import recalibrate

WORKS = ("cifar10/resnet44", "cifar10/resnet20", "digits/digits_cnn", "shakespeare/decoder", "protein/mlp")
KEPT = (0.75, 0.5, 0.25)
VALIDATION, SAMPLES = 1000, 384
COMPARED = ("weight_norm", "taylor", "error_rise")


@dataclass(frozen=True)
class Row:
    """Scores of one cut; `error` is that of the repaired outputs on inputs held out, a share of their variance.

    Seconds are of processor time, one thread, for the repair alone.
    """

    work: str
    kept: float
    importance: str
    base: float
    cut: float
    normed: float
    repaired: float
    error: float
    seconds: float


def rows(work: str, data: Path) -> Iterator[Row]:
    """Yield the rows of one network."""
    task_name, _, network = work.partition("/")
    bundle = get(task_name, data)
    module, example = bundle.trained(network)
    net = whet.lift(module, example)
    task = bind(bundle.task, net)
    run = Run(task, AlignedTarget(1), teacher=net)  # type: ignore[arg-type]
    base, reference = score(net, task), reference_of(net, run, Repair().samples)
    sites = [site for site, group in analyze(net).groups.items() if not is_stream(net, group)]
    for importance in COMPARED:
        frozen = Frozen.of(net, importance, run)
        for kept in KEPT:
            cut = Width(tie="none", importance=frozen).apply(net, Decision({f"{s}:width": kept for s in sites}), run)
            normed = cut.net.copy()
            recalibrate(normed, task.train, SAMPLES)
            start = time.process_time()
            result = repaired(reference, cut.net)
            seconds = time.process_time() - start
            scores = (score(x, task) for x in (cut.net, normed, result.net))
            yield Row(work, kept, importance, base, *scores, output_error(reference, result.net), round(seconds, 2))


def score(net: Net, task: Task) -> float:
    """Return the metric on the first validation samples."""
    return task.score(*predict(net.eval(), task.val, VALIDATION))


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        "### Cut and repaired, without training",
        "",
        "Kept: the share of the channels, heads and neurons of every group that is no residual stream. Scores are on "
        f"up to {VALIDATION} validation samples; {Repair().samples} calibration samples, more where layers have too "
        "few rows, without labels but for taylor. The outputs' error is that of the repaired network on inputs that no "
        "layer was solved on, as a share of their variance.",
        "",
        "| network | kept | importance | original | cut | norms estimated again | repaired | outputs' error | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        scores = " | ".join(f"{r[key]:.4f}" for key in ("base", "cut", "normed", "repaired", "error"))
        lines.append(f"| {r['work']} | {r['kept']:g} | {r['importance']} | {scores} | {r['seconds']:.1f} |")
    return "\n".join([*lines, "", origin(table), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="task/network; all by default")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for work in asked.work or WORKS:
        for row in rows(work, asked.data):
            found.append(asdict(row))
            print(row, flush=True)
            table = {"rows": found, "device": fingerprint().to_dict(), "commit": commit()}
            write_result(asked.out / "repair", table, markdown(table))


if __name__ == "__main__":
    main()
