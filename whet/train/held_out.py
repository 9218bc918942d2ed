"""`HeldOut`: a few batches of the training data on which a training is judged, so that none does harm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from whet.core.errors import TaskError
from whet.core.task import Batch, Batches, Task, length_of, rows_of, split

HELD_SAMPLES = 512
"""Samples that a training is judged on: two forward passes over them cost about as much as some steps."""
SOLVED_SAMPLES = 16_384
"""First samples of the training data that a repair may have been solved on: on them it is better than it is."""
MOST_SHARE = 1 / 8
"""The share of the training batches that may be set apart."""


@dataclass(frozen=True)
class HeldOut:
    """Batches of the training data from number `start` on, which no epoch trains on.

    They lie in the middle of an epoch, or behind `SOLVED_SAMPLES`: a repair is solved on the first samples. Of data in
    a fixed order that sets them apart for good, of shuffled data for the first epoch. None is set apart if they are
    more than an eighth of all batches, or these are not known: the judgement is then on what was trained on.

    >>> import torch
    >>> task = Task("t", train=[(torch.ones(100, 1) * i, torch.zeros(100)) for i in range(60)], val=[(1, 1)])
    >>> held = HeldOut.of(task)
    >>> held.start, held.samples, [int(x[0]) for x, _ in held.others(task.train)][29:31]
    (30, 600, [29, 36])
    """

    batches: tuple[Batch, ...]
    start: int = 0

    @classmethod
    def of(cls, task: Task, samples: int = HELD_SAMPLES) -> HeldOut:
        """Take batches of `task` with at least so many samples, or all if it has less.

        Raises: TaskError if there is none.
        """
        train = task.training
        items = train.at_epoch(0) if hasattr(train, "at_epoch") else train
        first = next(iter(items), None)
        if first is None:
            raise TaskError(f"task '{task.name}' gives no training batch.")
        rows = max(rows_of(split(first)[0]), 1)
        length, wanted = length_of(items) or 0, math.ceil(samples / rows)
        start = min(length // 2, math.ceil(SOLVED_SAMPLES / rows)) if wanted <= MOST_SHARE * length else 0
        taken, seen = [], 0
        for batch in islice(iter(items), start, None):
            taken.append(batch)
            seen += rows_of(split(batch)[0])
            if seen >= samples:
                break
        return cls(tuple(taken), start)

    @property
    def samples(self) -> int:
        """How many samples are held out, over all batches."""
        return sum(rows_of(split(batch)[0]) for batch in self.batches)

    def skipped(self, batches: Batches) -> int:
        """Return how many batches of an epoch are left out."""
        length = length_of(batches)
        return len(self.batches) if length is not None and len(self.batches) <= MOST_SHARE * length else 0

    def others(self, batches: Batches) -> Batches:
        """Return an epoch's batches without those that are left out."""
        skipped = self.skipped(batches)
        return (batch for i, batch in enumerate(batches) if not skipped or not 0 <= i - self.start < skipped)
