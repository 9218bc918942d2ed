"""`digits`: scikit-learn's 1,797 handwritten digits of 8x8 pixels, which need no download."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

from whet.core.task import Task, accuracy
from whet.networks.digits_cnn import digits_cnn
from whet.tasks.bundle import Bundle, TensorBatches
from whet.train.recipe import Recipe


def digits(data: Path | None = None) -> Bundle:
    """Return the task with a fixed stratified split: 1,077 to train on, 360 for validation, 360 for the test."""
    table = load_digits()
    images = torch.tensor(table.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(table.target, dtype=torch.long)
    rows = list(range(len(labels)))
    rest, test = train_test_split(rows, test_size=360, stratify=table.target, random_state=0)
    train, val = train_test_split(rest, test_size=360, stratify=table.target[rest], random_state=0)
    task = Task(
        name="digits",
        train=TensorBatches(images[train], labels[train], 64, shuffle=True),
        val=TensorBatches(images[val], labels[val], 180),
        test=TensorBatches(images[test], labels[test], 180),
        calibration=TensorBatches(images[train][:256], labels[train][:256], 128),
        loss=functional.cross_entropy,
        metric=accuracy,
    )
    return Bundle(
        task,
        {"digits_cnn": digits_cnn},
        (images[:2],),
        recipe=Recipe(learning_rate=0.03),
        pretraining=Recipe(learning_rate=0.1, distillation=0.0),
        pretraining_epochs=20,
    )
