"""A small network and its task, and a request to search over it; batches may kill the process that reads them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.flow.request import Request
from whet.train.recipe import Recipe


@dataclass(frozen=True)
class Deadly:
    """Batches; reading them kills a process other than `spared` for each file there is in `folder`."""

    batches: list[tuple[Tensor, Tensor]]
    folder: Path
    spared: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if os.getpid() != self.spared:
            for fate in self.folder.glob("kill-*"):
                fate.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@cache
def made(folder: Path | None = None) -> tuple[whet.Net, whet.Task]:
    """Return a network that finds all of its 128 samples, and their task."""
    torch.manual_seed(0)
    x = torch.randn(128, 8)
    module = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        y = module(x).argmax(1)
    data = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 128, 32)]
    train = data if folder is None else Deadly(data, folder, os.getpid())
    task = whet.Task("tiny", train, data, functional.cross_entropy, whet.accuracy, test=data)
    return whet.lift(module, x[:2], name="tiny"), task


def request(out: Path, folder: Path | None = None) -> Request:
    net, task = made(folder)
    target: Any = None
    return Request(net, task, target, (), (), 60.0, out, recipe=Recipe(learning_rate=0.01))
