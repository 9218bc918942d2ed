"""How well latency can be forecast on this device: random sub-networks of a network, measured and forecast."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from whet.bench.results import device_line
from whet.compress.depth import Depth
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Progress, Run
from whet.core.target import Artifact
from whet.core.task import Task
from whet.data.bind import bind
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.guard import Guarded
from whet.hardware.measure import measure
from whet.hardware.race import race, uncompressed
from whet.hardware.targets import inputs_of, setting_name
from whet.search.predictors.latency import errors
from whet.search.strategies.random import RandomStrategy

SECONDS = 1.0
"""How long each sub-network is timed against the original."""


def run(net: Net, task: Task, budget_seconds: float, target: str, out: Path, progress: Progress) -> dict[str, Any]:
    """Time random sub-networks until the budget is spent; forecast each from the others.

    Latencies are shares of the original's, in its fastest setting, interleaved with it: what noise of the machine
    both suffer cancels.
    """
    task, with_child = bind(task, net), Guarded(targets.get(target))
    passes, began = Chain((Depth(), Width(importance="weight_norm"))), time.monotonic()  # only shapes matter
    work = Run(task, with_child, net)
    strategy = RandomStrategy(passes.space(net, with_child))
    nets: list[Net] = []
    shares: list[float] = []
    out.mkdir(parents=True, exist_ok=True)
    with closing(with_child), tempfile.TemporaryDirectory(dir=out) as scratch:
        folder = Path(scratch)
        original = with_child.save(net.eval(), folder / "original")
        inputs, bar = inputs_of(net), uncompressed(original)
        raced = race(with_child, inputs, bar, bar, SECONDS)
        setting = raced.settings[raced.bar]
        while (left := budget_seconds - (time.monotonic() - began)) > 0 and (asked := strategy.ask()):
            progress({"stage": f"sub-network {len(nets) + 1}", "seconds_left": left})
            smaller = passes.apply(net, asked[0], work).net
            path = with_child.save(smaller.eval(), folder / "candidate")
            sessions = {
                name: partial(with_child.open(Artifact(file, setting), 1), *inputs)
                for name, file in (("original", original), ("candidate", path))
            }
            for session in sessions.values():
                session()
            nets.append(smaller)
            shares.append(1.0 / measure(sessions, "original", seconds=SECONDS)["candidate"].ratio)
    found = errors(nets, shares)
    return {
        "network": net.name, "sub_networks": len(nets), "setting": setting_name(setting),
        "fastest_share": min(shares), "slowest_share": max(shares),
        "median_error": found.median, "percentile_95_error": found.percentile_95, "device": fingerprint().to_dict(),
    }  # fmt: skip


def markdown(record: dict[str, Any]) -> str:
    """Return the result for people."""
    return (
        f"### {record['network']}: forecast latency of {record['sub_networks']} random sub-networks\n\n"
        f"Each forecast from the others (5 folds), in `{record['setting']}`, latencies from "
        f"{record['fastest_share']:.2f} to {record['slowest_share']:.2f} of the original's. Relative error: median "
        f"{record['median_error']:.1%}, 95th percentile {record['percentile_95_error']:.1%}.\n\n"
        f"Device: {device_line(record['device'])}.\n"
    )
