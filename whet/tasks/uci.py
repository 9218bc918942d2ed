"""`protein` and `parkinsons`: regression tables of the UCI repository."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import TaskError
from whet.core.task import Task
from whet.networks.mlp import MLP
from whet.tasks.bundle import Bundle, TensorBatches, data_folder, read_table
from whet.train.recipe import Recipe


def root_mean_squared_error(outputs: Tensor, targets: Tensor) -> float:
    """Return the RMSE in standard deviations of the training targets. Both of one shape (rows, 1)."""
    return float((outputs - targets).square().mean().sqrt())


def table(name: str, data: Path | None = None, epochs: float = 40) -> Bundle:
    """Return the task from `DATA/uci/NAME.data.csv.gz` and `NAME.test_mask.csv.gz`.

    The mask's first column marks the test rows, a seeded tenth of the others is for validation. Columns and target are
    standardised by the training rows.
    """
    files = (f"uci/{name}.data.csv.gz", f"uci/{name}.test_mask.csv.gz")
    folder = data_folder(name, data, files)
    rows, mask = (torch.from_numpy(read_table(folder / f)) for f in files)
    if len(rows) != len(mask):
        raise TaskError(f"'{files[0]}' has {len(rows)} rows but '{files[1]}' has {len(mask)}.")
    is_test = mask[:, 0] > 0.5
    rest = torch.nonzero(~is_test).flatten()
    rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(0))]
    val, train = rest[: len(rest) // 10], rest[len(rest) // 10 :]
    mean, deviation = rows[train].mean(0), rows[train].std(0).clamp_min(1e-6)
    rows = (rows - mean) / deviation
    x, y = rows[:, :-1].contiguous(), rows[:, -1:].contiguous()
    test = torch.nonzero(is_test).flatten()
    task = Task(
        name=name,
        train=TensorBatches(x[train], y[train], 256, shuffle=True),
        val=TensorBatches(x[val], y[val], 512),
        test=TensorBatches(x[test], y[test], 512),
        calibration=TensorBatches(x[train][:1024], y[train][:1024], 512),
        loss=functional.mse_loss,
        metric=root_mean_squared_error,
        metric_name="RMSE",
        direction="min",
        drop="relative",
    )
    return Bundle(
        task,
        {"mlp": lambda: MLP(x.shape[1])},
        (x[:2],),
        # A quarter of the widths lost 1.8 % after 35 epochs at 5e-4 and 0.5 % at 1e-3; after 18 epochs 3.0 and 2.4 %.
        recipe=Recipe("adamw", 1e-3, weight_decay=0.05, distillation=0.5, distance="mse", precision="f32"),
        pretraining=Recipe("adamw", 1e-3, weight_decay=0.1, distillation=0.0, precision="f32"),
        pretraining_epochs=epochs,
    )


def protein(data: Path | None = None) -> Bundle:
    """Return the task on the shapes of proteins: nine columns, 45,730 rows."""
    return table("protein", data)


def parkinsons(data: Path | None = None) -> Bundle:
    """Return the task on voices of patients with Parkinson's disease, 5,875 rows."""
    return table("parkinsons", data, epochs=150)
