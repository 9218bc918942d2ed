"""`HeldOut`: a few batches of the training data on which a training is judged, so that none does harm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from whet.core.errors import TaskError
from whet.core.task import Batch, Batches, Task, length_of, rows_of, split

HELD_SAMPLES = 256
"""Samples that a training is judged on: two forward passes over them cost about as much as a step or two."""
MOST_SHARE = 1 / 8
"""The share of the training batches that may be set apart."""


@dataclass(frozen=True)
class HeldOut:
    """The first batches of the training data, of which no epoch trains on its own first ones.

    Of data in a fixed order that sets them apart for good, of shuffled data for the first epoch. None is set apart if
    they are more than an eighth of all batches, or these are not known: the judgement is then on what was trained on.

    >>> import torch
    >>> task = Task("t", train=[(torch.ones(100, 1) * i, torch.zeros(100)) for i in range(30)], val=[(1, 1)])
    >>> held = HeldOut.of(task)
    >>> held.samples, [int(x[0]) for x, _ in held.others(task.train)][:2]
    (300, [3, 4])
    """

    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, task: Task, samples: int = HELD_SAMPLES) -> HeldOut:
        """Take the first batches of `task` with at least so many samples, or all if it has less."""
        taken, train = [], task.training
        seen = 0
        for batch in train.at_epoch(0) if hasattr(train, "at_epoch") else train:
            taken.append(batch)
            seen += rows_of(split(batch)[0])
            if seen >= samples:
                break
        if not taken:
            raise TaskError(f"task '{task.name}' gives no training batch.")
        return cls(tuple(taken))

    @property
    def samples(self) -> int:
        return sum(rows_of(split(batch)[0]) for batch in self.batches)

    def skipped(self, batches: Batches) -> int:
        """Return how many batches are left out at the beginning of an epoch."""
        length = length_of(batches)
        return len(self.batches) if length is not None and len(self.batches) <= MOST_SHARE * length else 0

    def others(self, batches: Batches) -> Batches:
        """Return an epoch's batches without those that are left out."""
        return islice(iter(batches), self.skipped(batches), None)
