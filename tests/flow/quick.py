"""A network that trains in no time, and an optimization of it with made-up speed-ups; its file is written once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.flow import deliver
from whet.flow.delivered import DeliveredFront
from whet.flow.files import Files
from whet.flow.optimize import optimize
from whet.hardware import onnxruntime, openvino, targets
from whet.hardware.guard import Guarded
from whet.hardware.measure import Latency
from whet.hardware.onnx_export import export_onnx
from whet.hardware.race import Raced


def latency(name: str, ratio: float, spread: float = 0.02) -> Latency:
    return Latency(name, 1.0 / ratio, ratio, ratio * (1 - spread), ratio * (1 + spread), 9, "made up", "")


@cache
def made(seed: int = 0, width: int = 32, rows: int = 128) -> tuple[whet.Net, whet.Task]:
    """Return a small trained network on made-up data, and its task."""
    torch.manual_seed(seed)
    x = torch.randn(rows, 8)
    y = (x @ torch.randn(8, 3)).argmax(1)
    module = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    data = [(x[i : i + 32], y[i : i + 32]) for i in range(0, rows, 32)]
    task = whet.Task("tiny", data, data, functional.cross_entropy, whet.accuracy, test=data)
    return whet.lift(module.eval(), x[:2], name="tiny"), task


@contextmanager
def untimed(
    speedup: float = 1.5, raced: Mapping[int, float] | None = None, one_file: bool = True
) -> Iterator[pytest.MonkeyPatch]:
    """Give every candidate `speedup` in the search and, by its number, its ratio of `raced` in the last race.

    With `one_file` every network's file is the same; else each is written as it is.
    """

    def each(sessions: dict[str, Any], baseline: str, **options: Any) -> dict[str, Latency]:
        return {n: latency(n, 1 / (1 + i)) for i, n in enumerate(sessions)}

    def timed(self: Files, net: Any, finishers: Any = None) -> dict[str, Any]:
        return {"latency": latency("x", speedup), "settings": self.timing.settings[0], "size_bytes": 1}

    def race(
        target: Any, inputs: Any, files: Mapping[str, Any], bars: Sequence[str], seconds: float, batch: int = 1
    ) -> Raced:
        ratios = {str(number): ratio for number, ratio in (raced or {}).items()}
        bar = sorted(bars)[0]
        found = {n: latency(n, 1.0 if n == bar else 0.8 if "/" in n else ratios.get(n, speedup)) for n in files}
        return Raced(bar, found, {n: tried[0] for n, (_, tried) in files.items()}, {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "measure", each)
        patch.setattr(Files, "time_net", timed)
        patch.setattr(Files, "time_file", lambda self, path, brief=False: tuple(timed(self, None).values())[:2])
        patch.setattr(deliver, "race", race)
        patch.setattr(Guarded, "_crash", lambda self, order: None)
        for runtime in (onnxruntime, openvino) if one_file else ():
            patch.setattr(runtime, "export_onnx", written)
        yield patch


def written(net: whet.Net, path: Path) -> Path:
    """Write the same sound file for every network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file())
    return path


@cache
def file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export_onnx(made()[0], Path(folder) / "model.onnx").read_bytes()


class Falling:
    """A metric that finds the first file good and each later one worse by `step`."""

    def __init__(self, step: float) -> None:
        self.step, self.calls = step, 0

    def __call__(self, outputs: Any, targets: Any) -> float:
        self.calls += len(targets) == 128  # else it is tried on a batch
        return 0.9 - self.step * (self.calls > 1)


def search(out: Path, metric: Any = whet.accuracy, **options: Any) -> DeliveredFront:
    """Optimize the small network, by default in one epoch of training and one candidate."""
    net, task = made()
    task = replace(task, metric=metric)
    given = {"target": "onnxruntime-cpu", "max_drop": "30%", "epochs": 1.0, "trials": 1, "strategy": "random"}
    return optimize(net, task, out=out, **{**given, **options})
