"""`shakespeare`: the next character of a megabyte of plays."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import TaskError
from whet.core.task import Task
from whet.networks.transformer import Decoder
from whet.tasks.bundle import Bundle, TensorBatches, data_folder
from whet.train.recipe import Recipe

CONTEXT = 128


def next_character_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats; logits `(N, T, V)`, targets `(N, T)`."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def bits_per_character(logits: Tensor, targets: Tensor) -> float:
    """Return the mean of `-log2 p(next character)`. Logits (N, T, V), targets (N, T)."""
    return float(next_character_loss(logits, targets)) / math.log(2)


def shakespeare(data: Path | None = None) -> Bundle:
    """Return the task from `DATA/tinyshakespeare/input.txt`.

    The first 81 % of the text is trained on, the next 9 % is for validation, the last 10 % the test.
    """
    name = "tinyshakespeare/input.txt"
    try:
        text = (data_folder("shakespeare", data, (name,)) / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"'{name}' is no UTF-8 text: {error}") from error
    alphabet = sorted(set(text))
    if len(text) < 100 * CONTEXT:
        raise TaskError(f"'{name}' holds {len(text)} characters; at least {100 * CONTEXT} are needed.")
    number = {c: i for i, c in enumerate(alphabet)}
    codes = torch.tensor([number[c] for c in text])
    val_start, test_start = int(0.81 * len(codes)), int(0.9 * len(codes))
    train, train_next = _windows(codes[:val_start], 32)
    val, val_next = _windows(codes[val_start:test_start], CONTEXT)
    test, test_next = _windows(codes[test_start:], CONTEXT)
    task = Task(
        name="shakespeare",
        train=TensorBatches(train, train_next, 32, shuffle=True),
        val=TensorBatches(val, val_next, 64),
        test=TensorBatches(test, test_next, 64),
        calibration=TensorBatches(train[::100][:128], train_next[::100][:128], 32),
        loss=next_character_loss,
        metric=bits_per_character,
        metric_name="bits per character",
        direction="min",
        drop="relative",
    )
    vocabulary = len(alphabet)
    return Bundle(
        task,
        {"decoder": lambda: Decoder(vocabulary, CONTEXT)},
        (val[:2],),
        recipe=Recipe("adamw", 1e-3, weight_decay=0.05, distillation=0.7, temperature=1.0, clip_norm=1.0),
        pretraining=Recipe("adamw", 2e-3, weight_decay=0.1, distillation=0.0, clip_norm=1.0),
        pretraining_epochs=2.5,
    )


def _windows(codes: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return windows of `CONTEXT` characters that begin every `stride`, and the characters that follow each."""
    windows = codes.unfold(0, CONTEXT + 1, stride)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
