"""A small network and a task for it, which tests of techniques train on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

import whet
from whet.core.task import Task
from whet.tasks.bundle import TensorBatches
from whet.train.recipe import Recipe

F32 = Recipe(learning_rate=0.05, precision="f32")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def task(loss: Any = functional.cross_entropy) -> Task:
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return Task("toy", train=TensorBatches(x, y, 32, shuffle=True), val=[(x, y)], loss=loss, metric=whet.accuracy)
