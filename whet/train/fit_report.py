"""`FitReport`: what a training did."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class FitReport:
    """What a training did. `losses` holds the mean loss of each tenth of it or so, in order; `loss` is the last step's.

    `averaged` says that the weights are the mean of those of its last part. `distance` says by what student and teacher
    were compared, empty without a teacher. With held-out data `kept` says whether the weights are those of `after` the
    training or, since it made them worse, of `before`; `held_before` and `held_after` are the losses on that data, and
    `failure` says why a training was given up. Of `seconds`, `data_seconds` went into batches and `teacher_seconds`
    into the teacher; `check_seconds` went into the held-out data and are not among them.
    """

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    loss: float = math.nan
    skipped: dict[str, str] = field(default_factory=dict)
    distance: str = ""
    kept: Literal["", "before", "after"] = ""
    held_before: float = math.nan
    held_after: float = math.nan
    failure: str = ""
    averaged: bool = False
    data_seconds: float = 0.0
    teacher_seconds: float = 0.0
    check_seconds: float = 0.0

    @property
    def samples_per_second(self) -> float:
        """The speed of the training without its checks on held-out data; 0 before the first sample."""
        return self.samples / max(self.seconds, 1e-9)
