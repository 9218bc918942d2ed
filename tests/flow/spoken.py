"""Made-up speech: a network of convolutions and a GRU, trained with AdamW, and its task."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.core.task import Task
from whet.tasks.bundle import TensorBatches
from whet.train.fit import fit
from whet.train.recipe import Recipe

CLASSES, FREQUENCIES, FRAMES = 8, 12, 24


class Spoken(nn.Module):
    def __init__(self, width: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv1d(FREQUENCIES, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, 2, padding=2)
        self.norm = nn.LayerNorm(width)
        self.gru, self.out = nn.GRU(width, hidden, batch_first=True), nn.Linear(hidden, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.second(functional.gelu(self.first(x))))
        outputs, _ = self.gru(self.norm(x.transpose(1, 2)))
        scores: Tensor = self.out(outputs.mean(1))
        return scores


def spectra(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return spectra (count, frequencies, frames) in which a tone glides as its class says, late or soon, in noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    begin = torch.linspace(1, FREQUENCIES - 1, CLASSES)[labels, None]
    slope = torch.tensor([-6.0, 6.0]).repeat(CLASSES // 2)[labels, None]
    time = torch.linspace(0, 1, FRAMES) - 0.4 * torch.rand(count, 1, generator=generator)
    tone = (begin + slope * time)[:, None] - torch.arange(FREQUENCIES)[:, None]
    noise = torch.randn(count, FREQUENCIES, FRAMES, generator=generator)
    return torch.exp(-tone.square() / 2) * (time > 0)[:, None] + 0.5 * noise, labels


@cache
def spoken() -> tuple[whet.Net, Task]:
    """Return the trained network and its task."""
    torch.manual_seed(0)
    (x, y), (others, other_labels) = spectra(2048, 0), spectra(512, 1)
    task = Task(
        "spoken", TensorBatches(x, y, 32, shuffle=True), TensorBatches(others, other_labels, 256),
        functional.cross_entropy, whet.accuracy, calibration=TensorBatches(x[:256], y[:256], 64),
    )  # fmt: skip
    module = Spoken()
    fit(module, task, recipe=Recipe("adamw", 4e-3, weight_decay=0.01, distillation=0.0, precision="f32"), epochs=5)
    return whet.lift(module.eval(), (x[:2],), name="spoken"), task
