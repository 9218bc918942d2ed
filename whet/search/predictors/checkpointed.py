"""A Gaussian process on what a training has logged so far: its settings, its curve and its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import StudyError
from whet.decisions.genes import Vector
from whet.search.predictors.metanetwork import WIDTH, Metanetwork, Stack, State, stacked
from whet.search.predictors.posterior import Posterior

Batch = tuple[Tensor, Tensor, list[Stack]]
"""Rows: settings with budgets (rows, features + 1), windows of curves (rows, length, WINDOW), and weights."""
CHANNELS = 4
WINDOW = 3
RATE = 3e-3
NOISE_FLOOR = 1e-4


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a training: its settings, how far a forecast is to look, its values so far, its weights.

    `features` (features,) are the hyper-parameters or a decision's (`whet.decisions.genes.Genes.features`); `budget` is
    the share of the longest training at which the value is measured; `curve` has the values so far, the oldest first,
    and may be empty; `weights` is the state dict logged last, that of the start for a training not yet begun.

    Raises: StudyError for a budget outside 0 to 1.
    """

    features: Vector
    budget: float
    curve: Sequence[float]
    weights: State

    def __post_init__(self) -> None:
        if not 0 <= self.budget <= 1:
            raise StudyError(f"a checkpoint's budget is a share from 0 to 1; got {self.budget!r}.")


class DeepKernel(nn.Module):
    """The kernel `scale * exp(-|phi(a) - phi(b)|^2 / (2 width))` of a learnt projection phi of rows."""

    def __init__(self, features: int, weights: bool, width: int = WIDTH) -> None:
        super().__init__()
        self.settings, self.window = nn.Linear(features + 1, width), nn.Linear(WINDOW, CHANNELS)
        self.metanetwork = Metanetwork(width) if weights else None
        joined = width + CHANNELS + (2 * width if weights else 0)
        # Means over many weights differ by little from row to row: without a norm all checkpoints would be alike.
        self.norm = nn.BatchNorm1d(joined, eps=1e-9, momentum=1.0, affine=False)
        self.project = nn.Linear(joined, width)
        self.log_scale, self.log_noise = nn.Parameter(torch.zeros(())), nn.Parameter(torch.tensor(math.log(0.1)))
        self.double()

    def forward(self, settings: Tensor, windows: Tensor, stacks: Sequence[Stack]) -> Tensor:
        """Return phi of each row, shape (rows, width)."""
        parts = [functional.silu(self.settings(settings)), self.window(windows).amax(1)]
        if self.metanetwork is not None:
            parts.append(self.metanetwork(stacks))
        projected: Tensor = self.project(self.norm(torch.cat(parts, 1)))
        return projected

    def covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the kernel (n, m) of projected rows a (n, features) and b (m, features)."""
        return self.log_scale.exp() * torch.exp(-0.5 * (a[:, None] - b[None]).square().mean(-1))

    @property
    def noise(self) -> Tensor:
        """The variance of a measurement, a scalar, never below the floor."""
        return self.log_noise.exp() + NOISE_FLOOR

    def prior(self, projected: Tensor) -> Tensor:
        """Return the covariance `(n, n)` of measurements at `(n, features)`, noise and all."""
        return self.covariance(projected, projected) + self.noise * torch.eye(len(projected), dtype=projected.dtype)

    def surprise(self, projected: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log marginal likelihood a row, less a constant: a scalar for targets `(n,)`."""
        factor: Tensor = torch.linalg.cholesky(self.prior(projected))
        weights = torch.cholesky_solve(targets[:, None], factor)[:, 0]
        return (0.5 * (targets * weights).sum() + factor.diagonal().log().sum()) / len(targets)


class Checkpointed:
    """A Gaussian process whose deep kernel reads settings, budget, learning curve and the logged weights.

        phi = P norm([silu(S [features, budget]), max over windows of the curve, metanetwork(weights)])
        k(a, b) = scale exp(-|phi(a) - phi(b)|^2 / (2 width)),   value ~ GP(mean, k + noise)

    All parameters are those of largest marginal likelihood, by `steps` of Adam from a start drawn by `seed`. The
    standard deviation is that of a measurement: it holds the noise. Without `weights` the metanetwork is left out.

    Paper: Mehta et al. 2024, Improving Hyperparameter Optimization with Checkpointed Model Weights: the
    surrogate of Forecasting Model Search. There, biases are nodes of their own, messages go forwards, edges alone are
    pooled, and residual connections, norms and attention are read too. Here every input of P is standardised over the
    fitted rows, P is linear, and each fit begins anew instead of refining the last one. Which training to go on with is
    left to the caller.

    Raises: StudyError when asked before it has data, for checkpoints that are no chain of linear and convolutional
    layers, or for rows with another number of features.

    >>> rows = [Checkpoint(np.array([i / 4]), 1.0, [0.9], nn.Linear(2, 1).state_dict()) for i in range(4)]
    >>> mean, deviation = Checkpointed(steps=5).fit(rows, np.arange(4.0)).predict(rows[:2])
    >>> mean.shape, bool((deviation > 0).all())
    ((2,), True)
    """

    def __init__(self, seed: int = 0, *, weights: bool = True, steps: int = 200) -> None:
        self.seed, self.weights, self.steps = seed, weights, steps
        self._inputs, self._curve = 0, (0.0, 1.0)
        self._fit: tuple[DeepKernel, Tensor, Posterior] | None = None

    def fit(self, rows: Sequence[Checkpoint], values: Vector) -> Checkpointed:
        """Learn from rows and the values measured at their budgets."""
        if not len(rows) or len(rows) != len(values):
            raise StudyError(f"a fit needs one or more rows and a value for each; got {len(rows)} and {len(values)}.")
        points = [point for row in rows for point in row.curve] or [0.0]
        self._inputs, self._curve = len(rows[0].features), (float(np.mean(points)), float(np.std(points)) or 1.0)
        mean, scale = float(np.mean(values)), float(np.std(values)) or 1.0
        targets = torch.tensor((np.asarray(values) - mean) / scale, dtype=torch.float64)
        batch = self._batch(rows)
        kernel = self._trained(batch, targets)
        with torch.no_grad():
            known: Tensor = kernel(*batch)
            factor = cho_factor(kernel.prior(known).numpy(), lower=True)
        self._fit = (kernel, known, Posterior(factor, cho_solve(factor, targets.numpy()), mean, scale))
        return self

    def _trained(self, batch: Batch, targets: Tensor) -> DeepKernel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            kernel = DeepKernel(self._inputs, self.weights)
        if len(targets) == 1:  # nothing to standardise over
            return kernel.eval()
        scalars = [kernel.log_scale, kernel.log_noise]
        network = [p for name, p in kernel.named_parameters() if not name.startswith("log_")]
        optimizer = torch.optim.Adam([{"params": network, "lr": RATE}, {"params": scalars, "lr": 10 * RATE}])
        for _ in range(self.steps):
            loss = kernel.surprise(kernel(*batch), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            kernel(*batch)  # the norm keeps the statistics of its last batch, and the last step has moved them
        return kernel.eval()

    def _batch(self, rows: Sequence[Checkpoint]) -> Batch:
        strange = {len(row.features) for row in rows} - {self._inputs}
        if strange:
            raise StudyError(f"rows have {self._inputs} features, as the first that was fitted; got {min(strange)}.")
        settings = torch.tensor(np.array([[*row.features, row.budget] for row in rows]), dtype=torch.float64)
        windows = self._windows([row.curve for row in rows])
        return settings, windows, stacked([row.weights for row in rows]) if self.weights else []

    def _windows(self, curves: Sequence[Sequence[float]]) -> Tensor:
        """Return the windows of standardised curves; short curves repeat their last, to which a maximum is blind."""
        mean, scale = self._curve
        longest = max(1, *map(len, curves))
        found = []
        for curve in curves:
            padded = [0.0] * (WINDOW - 1) + [(point - mean) / scale for point in list(curve) or [mean]]
            seen = [padded[i : i + WINDOW] for i in range(len(padded) - WINDOW + 1)]
            found.append(seen + seen[-1:] * (longest - len(seen)))
        return torch.tensor(found, dtype=torch.float64)

    def predict(self, rows: Sequence[Checkpoint]) -> tuple[Vector, Vector]:
        """Return the mean and standard deviation of a measurement of each row at its budget."""
        kernel, known, posterior = self._fitted()
        if not rows:
            return np.zeros(0), np.zeros(0)
        with torch.no_grad():
            cross = kernel.covariance(kernel(*self._batch(rows)), known)
            return posterior.predict(cross.numpy(), float(kernel.log_scale.exp() + kernel.noise))

    @property
    def noise_variance(self) -> float:
        """The variance of measurements about their forecast, in squared units of the values."""
        kernel, _, posterior = self._fitted()
        return float(kernel.noise.detach()) * posterior.scale**2

    def _fitted(self) -> tuple[DeepKernel, Tensor, Posterior]:
        if self._fit is None:
            raise StudyError("the checkpointed process was asked before it had data.")
        return self._fit
