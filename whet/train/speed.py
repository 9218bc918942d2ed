"""`TrainingSpeed`: how many samples a second a network will train at, from its operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

LEAST_STEPS = 20
"""Fewer optimizer steps than these are no training: a schedule has hardly begun, and a cut network is left broken."""
LATEST = 12
"""How many of the last trainings count: the machine may have become slower, the teacher remembered."""

Seen = tuple[float, float]
"""The operations of one sample, and the seconds that it took to train."""


@dataclass(frozen=True)
class TrainingSpeed:
    """Forecasts the seconds of a sample as `a + b * operations`, by the least relative squares, none below zero.

    Of one training nothing tells the two parts apart; each is believed to be half.

    >>> speed = TrainingSpeed([(1e6, 0.002), (3e6, 0.004)])
    >>> round(speed.seconds(2e6), 6), round(speed.samples(2e6, seconds=3.0))
    (0.003, 1000)
    """

    seen: Sequence[Seen]

    def seconds(self, operations: float) -> float:
        """Return the seconds that a sample of a network takes to train; 0 where no training was seen."""
        pairs = np.array([pair for pair in self.seen if pair[1] > 0][-LATEST:], dtype=float).reshape(-1, 2)
        if len(np.unique(pairs[:, 0])) < 2:
            whole = max(float(pairs[:, 0].max(initial=0.0)), 1.0)
            return float(pairs[:, 1].mean()) * (1 + operations / whole) / 2 if len(pairs) else 0.0
        scale = pairs[:, 0].max()
        columns = np.stack([np.ones(len(pairs)), pairs[:, 0] / scale], 1) / pairs[:, 1:]
        (base, each), _ = nnls(columns, np.ones(len(pairs)))
        return float(base + each * operations / scale)

    def samples(self, operations: float, seconds: float) -> float:
        """Return the samples that are trained on in `seconds`; infinitely many where no training was seen."""
        each = self.seconds(operations)
        return seconds / each if each else float("inf")
