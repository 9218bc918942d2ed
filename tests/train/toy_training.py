"""A small network and a task for it, which tests of techniques train on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.core.task import Task
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid
from whet.tasks.bundle import TensorBatches
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.train.technique import Technique

F32 = Recipe(learning_rate=0.05, precision="f32")


class Blind(nn.Module):
    """Hides the first two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.seen  # type: ignore[operator]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def task(loss: Any = functional.cross_entropy) -> Task:
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return Task("toy", train=TensorBatches(x, y, 32, shuffle=True), val=[(x, y)], loss=loss, metric=whet.accuracy)


def rounded(grid: Grid) -> nn.Sequential:
    """Return the network with its weights on a grid."""
    module = network()
    for name in ("0", "2"):
        module.set_submodule(name, quantize_weight(module.get_submodule(name), grid))
    return module


def layers_of(module: nn.Module) -> list[Any]:
    """Return the layers whose weights are on a grid."""
    return [m for m in module.modules() if isinstance(m, IntegerWeight)]


def interrupted(
    technique: Technique, build: Callable[[], Any], folder: Path, samples: int = 640, teacher: nn.Module | None = None
) -> tuple[Any, Any]:
    """Return a network that a technique trained without a break, and one that Ctrl-C stopped in the middle."""
    torch.set_num_threads(1)
    recipe = replace(F32, techniques=(technique,), momentum=0.9)
    whole, broken, other = build(), build(), build()
    fit(whole, task(), teacher=teacher, recipe=recipe, samples=samples)
    seen = [0]

    def interrupting(outputs: Any, targets: Any) -> torch.Tensor:
        seen[0] += 1
        if seen[0] == samples // 64:
            os.kill(os.getpid(), signal.SIGINT)
        return functional.cross_entropy(outputs, targets)

    path = folder / "half.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(broken, task(interrupting), teacher=teacher, recipe=recipe, samples=samples, checkpoint=path)
    fit(other, task(), teacher=teacher, recipe=recipe, samples=samples, checkpoint=path)
    return whole, other
