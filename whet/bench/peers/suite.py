"""`bench peers`: whet beside what a user would pick instead, on the same work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.bench.peers import table as tables
from whet.bench.peers.harness import efforts, found
from whet.bench.peers.judge import QUICK_SECONDS_EACH, SECONDS_EACH, Judge
from whet.bench.peers.work import RANDOM, Work
from whet.core.errors import unknown
from whet.core.run import Progress
from whet.flow.quantities import fraction, seconds
from whet.hardware.device import fingerprint

SUITE = (
    ("digits", "digits_cnn"),
    ("cifar10", "resnet20"),
    ("cifar10", "resnet44"),
    ("shakespeare", "decoder"),
    ("protein", "mlp"),
    ("latency", "mobilenetv2"),
    ("latency", "encoder"),
)
"""What `make peers` runs: tasks and networks; `latency` has random weights and nothing to score."""
QUICK = ("runtime", "onnxruntime", "whet")
"""The peers that need nothing installed."""


def run(
    task: str, network: str | None, *, peers: Path, out: Path, results: Path, budget: str = "5min",
    max_drop: str = "1%", names: Sequence[str] = (), quick: bool = False, data: Path | None = None,
    progress: Progress = lambda event: None,
) -> dict[str, Any]:  # fmt: skip
    """Let every peer work on one network, judge their files, write the table; return it.

    `quick` takes only the peers that need no installation, and times their files briefly. What a former call in `out`
    did is not done again.
    Raises: TaskError where the data are missing; UnknownNameError for a peer that is not there.
    """
    device = fingerprint()
    network = network or _own(task)
    work = Work(
        task=task, network=network, data=str(data.resolve()) if data else os.environ.get("WHET_DATA", ""), out="",
        seconds=seconds(budget), max_drop=fraction(max_drop) or 0.01, threads=device.cores,
    )  # fmt: skip
    work.module()
    folder = out / f"{network}-{task}"
    done = efforts(found(peers, names or (QUICK if quick else ())), work, folder, not quick, progress)
    progress({"stage": "judging all files", "seconds_left": 0.0})
    judge = Judge(work, device.cores, QUICK_SECONDS_EACH if quick else SECONDS_EACH)
    try:
        verdict = judge.judge({name: w.delivered() for name, (_, w) in done.items()})
    finally:
        judge.target.close()
    failures = [{"peer": e.peer, "error": e.error} for e, _ in done.values() if e.error]
    nothing = [name for name, (e, w) in done.items() if not e.error and not w.delivered()]
    failures += [{"peer": name, "error": "handed in nothing within its budget"} for name in nothing]
    failures += verdict.lost
    figures = [row.to_dict() for row in verdict.rows]
    table: dict[str, Any] = {
        "task": task,
        "network": network,
        "metric": None if work.latency_only else work.bundle.task.metric_name,
        "budget_seconds": work.seconds,
        "max_drop": work.max_drop,
        "bar": verdict.bar,
        "reference": verdict.reference,
        "rows": figures,
        "failures": [{**f, "error": beneath(folder, f["error"])} for f in failures],
        "efforts": [e.to_dict() for e, _ in done.values()],
        "device": device.to_dict(),
        "protocol": verdict.protocol,
        "summary": tables.summary(figures),
    }
    tables.write(table, results)
    tables.write_overview(results)
    return table


def beneath(folder: Path, text: str) -> str:
    """Return `text` with the paths of files in `folder` told from there: where it lies is nothing for a table.

    >>> beneath(Path("/home/me/runs"), "cannot compile '/home/me/runs/nncf/model.onnx'")
    "cannot compile 'nncf/model.onnx'"
    """
    return text.replace(f"{folder.resolve()}{os.sep}", "")


def _own(task: str) -> str:
    """Return the network of a task that the suite takes."""
    for known, network in SUITE:
        if known == task:
            return network
    raise unknown("task of the suite", task, {known for known, _ in SUITE})


def networks(task: str) -> list[str]:
    """Return what the suite runs of a task; `latency` has those with random weights.

    >>> networks("latency")
    ['mobilenetv2', 'encoder']
    """
    chosen = [network for known, network in SUITE if known == task]
    assert task != "latency" or set(chosen) == set(RANDOM)
    return chosen
