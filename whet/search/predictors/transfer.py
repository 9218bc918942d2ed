"""A forecast of quantized quality that begins as one of full-precision quality."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import StudyError
from whet.decisions.genes import Features, Vector

Rows = tuple[Tensor, Tensor, Tensor]
"""Structures, policies and standardised values: (n, columns), (n, columns), (n,)."""
HIDDEN = 48
PRETRAINING, TUNING = 400, 250
"""Steps on all cheap rows, and steps thereafter."""
RATES = 1e-2, 3e-3
"""Learning rates where all rows are learnt, and where few are, near what is known."""
DECAY, ANCHOR = 1e-4, 1e-2
"""The penalties on the sum of squared weights, and on that of their squared distances from the pretrained ones."""
FOLDS = 3


class Forecast(nn.Module):
    """A network of two hidden layers that reads a structure, and a policy by weights that are zero at the start.

    Policies are distances from the identity: so full precision is read as by a network that knows of structures alone.
    """

    def __init__(self, structure: int, policy: int, source: torch.Generator) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int) -> nn.Linear:
            made = nn.Linear(inputs, outputs, dtype=torch.float64)
            nn.init.normal_(made.weight, std=math.sqrt(2 / max(inputs, 1)), generator=source)
            nn.init.uniform_(made.bias, -0.5, 0.5, generator=source)
            return made

        self.structure, self.inner, self.outer = layer(structure, HIDDEN), layer(HIDDEN, HIDDEN), layer(HIDDEN, 1)
        self.policy = nn.Parameter(torch.zeros(policy, HIDDEN, dtype=torch.float64))

    def forward(self, structure: Tensor, policy: Tensor) -> Tensor:
        """Return forecasts (n,) for structures (n, features) and policies (n, choices)."""
        hidden = functional.silu(self.structure(structure) + policy @ self.policy)
        forecast: Tensor = self.outer(functional.silu(self.inner(hidden)))[:, 0]
        return forecast


def trained(start: Forecast, rows: Rows, steps: int, rate: float, penalty: float, *, anchored: bool) -> Forecast:
    """Return a copy of a network, trained on rows, its weights held near zero or, `anchored`, near what they were.

    minimise  mean (forecast - value)^2 + penalty |theta - theta_0|^2,    theta_0 = theta at the start, or 0
    """
    network, (structure, policy, values) = copy.deepcopy(start), rows
    before = [p.detach().clone() if anchored else torch.zeros_like(p) for p in start.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.mse_loss(network(structure, policy), values).backward()  # type: ignore[no-untyped-call]
        for parameter, centre in zip(network.parameters(), before, strict=True):
            assert parameter.grad is not None
            parameter.grad += 2 * penalty * (parameter.detach() - centre)
        optimizer.step()
        decay.step()
    return network


class Transfer:
    """A network that learns from many cheap measurements in full precision, then from few of quantized networks.

        1. on the cheap rows, what reads structures        2. from there, what reads the policy as well, zero until then

    `cheap` marks the rows in full precision; the columns in which these are all alike are the policy. What is known of
    structures carries over, and the few rows teach what bits do. In the second phase weights are held near those of
    the first and see the few rows alone, or are free and see the cheap rows as well (`rehearsed`): whichever forecasts
    few rows better that were left out. The former wins where full precision was measured on another scale (trained
    less, or on other data), the latter where both lie on one.

    Paper: Wang et al. 2020, APQ: Joint Search for Network Architecture, Pruning and Quantization Policy, which always
    tunes on the few alone; penalty and choice are ours. Raises: StudyError when asked before it has data.

    >>> x = np.array([[s / 8, b] for b, step in ((1.0, 1), (0.5, 4)) for s in range(0, 9, step)])
    >>> model = Transfer().fit(x, x[:, 0] + x[:, 1], cheap=x[:, 1] == 1.0)
    >>> bool(abs(model.predict(np.array([[0.7, 0.5]]))[0] - 1.2) < 0.1)
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.rehearsed = seed, False
        self._network: Forecast | None = None

    def fit(self, features: Features, values: Vector, cheap: NDArray[np.bool_] | None = None) -> Transfer:
        """Learn from rows of features and their values; without `cheap` all rows are learnt at once."""
        if not len(values):
            raise StudyError("the transferred predictor was given no measurement to learn from.")
        first = cheap if cheap is not None and cheap.any() else np.ones(len(values), dtype=bool)
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        self._policy = np.ptp(features[first], 0) == 0 if not first.all() else np.zeros(features.shape[1], dtype=bool)
        self._identity = features[first][0, self._policy]
        known, few = self._rows(features[first], values[first]), self._rows(features[~first], values[~first])
        start = Forecast(known[0].shape[1], known[1].shape[1], torch.Generator().manual_seed(self.seed))
        steps = PRETRAINING + (TUNING if first.all() else 0)
        self._network = trained(start, known, steps, RATES[0], DECAY, anchored=False)
        if not first.all():
            errors = [self._left_out_error(self._network, known, few, rehearsed) for rehearsed in (False, True)]
            self.rehearsed = errors[1] < errors[0]
            self._network = _tuned(self._network, known, few, self.rehearsed)
        return self

    @staticmethod
    def _left_out_error(pretrained: Forecast, known: Rows, few: Rows, rehearsed: bool) -> float:
        """Return the mean absolute error on few rows that the second phase did not see, each left out once."""
        place, errors = torch.arange(len(few[2])), list[Tensor]()
        for fold in range(min(FOLDS, len(place))):
            kept, out = place % FOLDS != fold, place % FOLDS == fold
            if not kept.any():  # a single row says nothing about either
                return 0.0
            network = _tuned(pretrained, known, (few[0][kept], few[1][kept], few[2][kept]), rehearsed)
            errors.append((network(few[0][out], few[1][out]) - few[2][out]).abs().detach())
        return float(torch.cat(errors).mean())

    def _rows(self, features: Features, values: Vector) -> Rows:
        structure, policy = 2.0 * features[:, ~self._policy] - 1.0, 2.0 * (features[:, self._policy] - self._identity)
        targets = (values - self._mean) / self._scale
        return torch.tensor(structure), torch.tensor(policy), torch.tensor(targets, dtype=torch.float64)

    def predict(self, features: Features) -> Vector:
        """Return one forecast a row."""
        if self._network is None:
            raise StudyError("the transferred predictor was asked before it had data.")
        structure, policy, _ = self._rows(features, np.zeros(len(features)))
        with torch.no_grad():
            forecast: Vector = self._network(structure, policy).numpy() * self._scale + self._mean
        return forecast


def _tuned(pretrained: Forecast, known: Rows, few: Rows, rehearsed: bool) -> Forecast:
    if not rehearsed:
        return trained(pretrained, few, TUNING, RATES[1], ANCHOR, anchored=True)
    both = torch.cat([known[0], few[0]]), torch.cat([known[1], few[1]]), torch.cat([known[2], few[2]])
    return trained(pretrained, both, TUNING, RATES[0], DECAY, anchored=False)
