"""Made-up speech: a network of convolutions and a GRU, trained with AdamW, and its task."""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional

import whet
from whet.core.task import Task
from whet.tasks.bundle import TensorBatches
from whet.testing.speech import SpeechNet, spectra
from whet.train.fit import fit
from whet.train.recipe import Recipe


@cache
def spoken() -> tuple[whet.Net, Task]:
    """Return the trained network and its task."""
    torch.manual_seed(0)
    (x, y), (others, other_labels) = spectra(2048, 0), spectra(512, 1)
    task = Task(
        "spoken", TensorBatches(x, y, 32, shuffle=True), TensorBatches(others, other_labels, 256),
        functional.cross_entropy, whet.accuracy, calibration=TensorBatches(x[:256], y[:256], 64),
    )  # fmt: skip
    module = SpeechNet()
    fit(module, task, recipe=Recipe("adamw", 4e-3, weight_decay=0.01, distillation=0.0, precision="f32"), epochs=5)
    return whet.lift(module.eval(), (x[:2],), name="spoken"), task
