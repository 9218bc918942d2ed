"""Small deterministic studies for `test_optimize.py` to kill: training is real, time is not.

Latencies come from multiply-accumulates here, because two measurements are never the same to the bit, and what is
tested is that nothing but them could differ.

Each line that is read is the folder of a search. It runs in a copy of this process, which never searched itself: to
load everything and to lift the network anew would take longer than most of them. Written are the copy's number and,
once it is no more, its exit code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

import whet
from whet import tasks
from whet.flow import deliver
from whet.flow.files import Files
from whet.flow.optimize import optimize
from whet.hardware import measure, targets
from whet.hardware.guard import Guarded
from whet.hardware.measure import Latency


def changed(size: int) -> None:
    """Count in place of timing, with as many parameters in the whole network."""

    def counted(self: Files, net: whet.Net, finishers: Any) -> dict[str, Any]:
        ratio = size / net.parameter_count
        latency = Latency("counted", 1.0, ratio, ratio, ratio, 1, "parameters", "")
        return {"latency": latency, "settings": self.timing.settings[0], "size_bytes": net.parameter_count}

    def by_size(self: Files, path: Path, brief: bool = False) -> tuple[Latency, dict[str, Any]]:
        ratio = 1e6 / path.stat().st_size
        return Latency("counted", 1.0, ratio, ratio, ratio, 1, "bytes", ""), self.timing.settings[0]

    def first(sessions: dict[str, Any], baseline: str, **options: Any) -> dict[str, Latency]:
        return {n: Latency(n, 1.0 + i, 1.0 / (1 + i), 1.0, 1.0, 1, "none", "") for i, n in enumerate(sessions)}

    Files.time_net, Files.time_file = counted, by_size  # type: ignore[method-assign]
    targets.measure = first  # type: ignore[assignment]
    Guarded._crash = lambda self, order: None  # type: ignore[method-assign]
    Guarded.begin = lambda self: None  # type: ignore[method-assign]
    deliver.SECONDS_EACH = 0.05
    measure.timed.__kwdefaults__["burst_seconds"] = 0.004


def main() -> None:
    torch.set_num_threads(1)
    bundle = tasks.get("digits")
    net = whet.lift(*bundle.trained(), name="digits_cnn")
    changed(net.parameter_count)
    for line in sys.stdin:
        out = Path(line.strip())
        with told(out).open("w", encoding="utf-8") as words:
            process = os.fork()
            if not process:
                os.dup2(words.fileno(), sys.stderr.fileno())
                optimize(
                    net, bundle.task, target="onnxruntime-cpu", max_drop="5%", epochs=2.0, trials=3, out=out,
                    strategy="random", recipe=bundle.recipe, passes=("depth", "quantize"),
                )  # fmt: skip
                return
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def told(out: Path) -> Path:
    """Return the file of what the search in a folder said since it was last begun."""
    return out.with_suffix(".txt")


if __name__ == "__main__":
    main()
