"""A deep ensemble: networks that say how unsure they are, and that began differently."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import StudyError
from whet.decisions.genes import Features, Vector

MEMBERS = 5
HIDDEN = 50
"""The units of the one hidden layer: the paper's for small tables."""
REACH = 0.01
"""How far an adversarial example is from its row, as a share of each feature's range: the paper's."""
LEAST_VARIANCE = 1e-6
"""Of standardised values; the paper's."""
STEPS = 250
RATE = 0.02


class Members(nn.Module):
    """Networks of one layer of ReLU units side by side, each with the mean and the variance of a normal distribution.

        mu, v = W relu(V x + b) + c,    sigma^2 = log(1 + e^v) + 1e-6

    Shapes: rows (members, n, features) to means and variances (members, n). No member reads what another holds.
    """

    def __init__(self, members: int, features: int, source: torch.Generator) -> None:
        super().__init__()

        def drawn(inputs: int, outputs: int) -> nn.Parameter:
            scale = math.sqrt(2 / max(inputs, 1))
            return nn.Parameter(scale * torch.randn(members, inputs, outputs, generator=source, dtype=torch.float64))

        self.inner, self.outer = drawn(features, HIDDEN), drawn(HIDDEN, 2)
        self.bias = nn.Parameter(torch.randn(members, 1, HIDDEN, generator=source, dtype=torch.float64))
        self.offset = nn.Parameter(torch.zeros(members, 1, 2, dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and variances, (members, n) each, for rows (members, n, features)."""
        hidden = torch.baddbmm(self.bias, x, self.inner).relu()
        mean, raw = torch.baddbmm(self.offset, hidden, self.outer).unbind(-1)
        return mean, functional.softplus(raw) + LEAST_VARIANCE

    def prior(self) -> Tensor:
        """Return the negative log density of all weights, less a constant, by their distribution at the start."""
        squares = [w.square().sum() * (max(w.shape[1], 1) / 2) for w in (self.inner, self.outer)]
        return 0.5 * (squares[0] + squares[1])


def surprise(mean: Tensor, variance: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log likelihood of each target, less a constant: a proper scoring rule.

        log(sigma^2) / 2 + (y - mu)^2 / (2 sigma^2)

    It is least, on average, for the true mean and the true variance. All three have one shape, and so has it.
    """
    return 0.5 * variance.log() + (targets - mean).square() / (2 * variance)


def adversarial(x: Tensor, slope: Tensor, reach: Tensor) -> Tensor:
    """Return the rows `x + reach * sign(slope)`: to first order the worst within `reach`, where `slope` is the loss's.

    Shapes: x and slope (members, n, features), reach (features,).
    """
    return x + reach * slope.sign()


@dataclass(frozen=True)
class Mixture:
    """What the members say of n rows: `means` and `variances`, both (members, n)."""

    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    @property
    def mean(self) -> Vector:
        """The mean of the members' means, (n,)."""
        mean: Vector = self.means.mean(0)
        return mean

    @property
    def variance(self) -> Vector:
        """The variance of the mixture of normal distributions: what members expect, and how far they are apart."""
        variance: Vector = (self.variances + self.means**2).mean(0) - self.mean**2
        return variance


class Ensemble:
    """Five small networks with a mean and a variance each, from starts of their own, as one mixture.

        mu* = mean_m mu_m,    sigma*^2 = mean_m (sigma_m^2 + mu_m^2) - mu*^2

    Each learns all rows by likelihood, from the rows as they are and from adversarial ones beside them:

        minimise  l(x, y) + l(x + reach range sign(dl/dx), y),    l = log(sigma^2) / 2 + (y - mu)^2 / (2 sigma^2)

    The standard deviation is that of a measurement: it holds the noise that the members see.

    Paper: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, as
    a surrogate in Li et al. 2023. As there, members differ by their start alone, not by their data. Searches give few
    rows, of which likelihood alone would make far too sure networks: weights keep as prior the distribution that they
    begin with. Raises: StudyError when asked before it has data.

    >>> x = np.linspace(0, 1, 12)[:, None]
    >>> mean, deviation = Ensemble().fit(x, 2 * x[:, 0]).predict(np.array([[0.5], [3.0]]))
    >>> bool(abs(mean[0] - 1.0) < 0.1), bool(deviation[1] > 3 * deviation[0])
    (True, True)
    """

    def __init__(self, seed: int = 0, members: int = MEMBERS, *, reach: float = REACH, steps: int = STEPS) -> None:
        self.seed, self.members, self.reach, self.steps = seed, members, reach, steps
        self._network: Members | None = None

    def fit(self, features: Features, values: Vector) -> Ensemble:
        """Learn from rows of features and their values."""
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        targets = torch.tensor((values - self._mean) / self._scale, dtype=torch.float64)
        x = self._rows(features)
        network = Members(self.members, features.shape[1], torch.Generator().manual_seed(self.seed))
        reach = self.reach * (x[0].amax(0) - x[0].amin(0))
        optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            given = x.clone().requires_grad_()
            loss = _loss(network, given, targets) + network.prior() / len(targets)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.reach:
                assert given.grad is not None
                worse = adversarial(x, given.grad, reach)
                _loss(network, worse, targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            decay.step()
        self._network = network
        return self

    def _rows(self, features: Features) -> Tensor:
        return torch.tensor(2.0 * features - 1.0, dtype=torch.float64).expand(self.members, -1, -1)

    def mixture(self, features: Features) -> Mixture:
        """Return what each member says of each row."""
        if self._network is None:
            raise StudyError("the ensemble was asked before it had data.")
        with torch.no_grad():
            means, variances = self._network(self._rows(features))
        return Mixture(means.numpy() * self._scale + self._mean, variances.numpy() * self._scale**2)

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the mean and the standard deviation of the mixture for each row."""
        mixture = self.mixture(features)
        return mixture.mean, np.sqrt(np.maximum(mixture.variance, 0.0))


def _loss(network: Members, x: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over members of their mean surprise."""
    mean, variance = network(x)
    return surprise(mean, variance, targets).mean(1).sum()
