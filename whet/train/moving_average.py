"""`MovingAverage`: the weights of the last part of a training, averaged, where that is better than the last ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from whet.core.checks import ValueRangeError
from whet.train.technique import Hooks, Session

MOST_SPREAD = 0.28
"""The spread of an average over the whole training, all steps alike, is 1 / sqrt(12)."""


@dataclass(frozen=True)
class MovingAverage:
    """A training ends with the average of its weights, the later the more, where that is better than the last ones.

        mean_t = beta_t mean_{t-1} + (1 - beta_t) theta_t,    beta_t = (1 - 1 / t)^(gamma + 1)

    After t steps, step s then counts as much as s^gamma: the `spread` of the steps that count, their standard deviation
    as a share of t, is the same in short and in long trainings; gamma is told from it by `spread^2 = (gamma + 1)
    (gamma + 2)^-2 (gamma + 3)^-1`. Statistics of batch norms are averaged as the weights are: those of a training are
    of its last ten batches, and where a table has rows far from all others they made one network seem 5 % worse than a
    few steps before. What is zero in the end stays zero. With a `judge`, which returns the loss of the network as it
    is, the better of both is kept; `FitReport.averaged` says which. Training itself is as it would be without. One that
    goes on from a checkpoint averages from there.

    Papers: Karras et al. 2024, Analyzing and Improving the Training Dynamics of Diffusion Models, section 3.1 (the
    average); Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization.
    Raises: ValueRangeError for a spread outside of (0, 0.28].

    >>> round(MovingAverage(0.1).gamma, 2), round(MovingAverage(0.05).gamma, 2)
    (6.94, 16.97)
    """

    spread: float = 0.1
    judge: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.spread <= MOST_SPREAD:
            raise ValueRangeError(f"spread must be above 0 and at most {MOST_SPREAD}; got {self.spread!r}.")

    @cached_property
    def gamma(self) -> float:
        """The power of the step by which it counts."""
        inverse = self.spread**-2
        return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())

    def begin(self, session: Session) -> Hooks:
        state = {name: t for name, t in session.module.state_dict().items() if t.is_floating_point()}
        mean = {name: t.detach().clone() for name, t in state.items()}

        @torch.no_grad()
        def after_step() -> None:
            share = 1 - (1 - 1 / session.report.steps) ** (self.gamma + 1)
            for name, value in state.items():
                mean[name].lerp_(value, share)

        @torch.no_grad()
        def end() -> None:
            if session.report.failure or session.progress() < 1:
                return
            last = {name: t.clone() for name, t in state.items()}
            worst = math.inf if self.judge is None else self.judge()
            for name, value in state.items():
                value.copy_(mean[name] * (last[name] != 0))
            session.report.averaged = self.judge is None or self.judge() < worst
            if not session.report.averaged:
                for name, value in state.items():
                    value.copy_(last[name])

        return Hooks(after_step=after_step, end=end)
