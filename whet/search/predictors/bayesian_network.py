"""A small Bayesian network, sampled by Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import StudyError
from whet.decisions.genes import Features, Vector

HIDDEN = 24
NOISE = 0.1
PRIOR = 1.0
Density = Callable[[Vector], tuple[float, Vector]]
"""Gives the log density and its gradient."""


def sample(
    density: Density, start: Vector, generator: np.random.Generator, *,
    count: int, burn: int, leaps: int = 20, step: float = 0.02,
) -> NDArray[np.float64]:  # fmt: skip
    """Return `count` draws from a density by Hamiltonian Monte Carlo, after `burn` that are thrown away.

    With H(q, p) = -log density(q) + |p|^2 / 2, each draw takes a fresh p ~ N(0, 1), makes `leaps` leapfrog steps, and
    is accepted with probability min(1, exp(H before - H after)). During the burn-in the step grows by 2 % with each
    acceptance and shrinks by 5 % with each rejection, which settles at 70 % accepted.

    Paper: Neal 2011, MCMC using Hamiltonian Dynamics.
    """
    q, (value, gradient) = start, density(start)
    draws = []
    for index in range(burn + count):
        p = generator.standard_normal(len(q))
        energy = -value + 0.5 * float(p @ p)
        new, new_value, new_gradient = q, value, gradient
        for _ in range(leaps):
            p = p + 0.5 * step * new_gradient
            new = new + step * p
            new_value, new_gradient = density(new)
            p = p + 0.5 * step * new_gradient
        gain = energy - (-new_value + 0.5 * float(p @ p))
        accepted = bool(np.isfinite(gain)) and np.log(generator.random()) < gain
        if accepted:
            q, value, gradient = new, new_value, new_gradient
        if index < burn:
            step *= 1.02 if accepted else 0.95
        else:
            draws.append(q)
    return np.array(draws)


class BayesianNetwork:
    """A network of one hidden layer of tanh units with a N(0, 1) prior on scaled weights, in `draws` samples.

    Paper: Li et al. 2023, A Study of Bayesian Neural Network Surrogates for Bayesian Optimization, which finds
    Hamiltonian Monte Carlo the best of the stochastic approximations. Raises: StudyError when asked before it has data.
    """

    def __init__(self, seed: int = 0, draws: int = 60, burn: int = 150) -> None:
        self.seed, self.draws, self.burn = seed, draws, burn
        self._samples: NDArray[np.float64] | None = None

    def fit(self, features: Features, values: Vector) -> BayesianNetwork:
        """Learn from rows of features and their values."""
        x = 2.0 * features - 1.0
        self._inputs = x.shape[1]
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        y = (values - self._mean) / self._scale
        generator = np.random.default_rng(self.seed)
        start = generator.standard_normal(self._inputs * HIDDEN + 2 * HIDDEN + 1) * 0.5
        self._samples = sample(lambda q: self._density(q, x, y), start, generator, count=self.draws, burn=self.burn)
        return self

    def _parts(self, q: Vector) -> tuple[NDArray[np.float64], Vector, Vector, float]:
        cut = self._inputs * HIDDEN
        return q[:cut].reshape(self._inputs, HIDDEN), q[cut : cut + HIDDEN], q[cut + HIDDEN : -1], float(q[-1])

    def _forward(self, q: Vector, x: Features) -> tuple[Vector, NDArray[np.float64]]:
        first, bias, second, offset = self._parts(q)
        hidden = np.tanh(x @ first / np.sqrt(max(self._inputs, 1)) + bias)
        return hidden @ second / np.sqrt(HIDDEN) + offset, hidden

    def _density(self, q: Vector, x: Features, y: Vector) -> tuple[float, Vector]:
        """Return the log posterior, less a constant, and its gradient by hand: a graph would cost more than it."""
        output, hidden = self._forward(q, x)
        error = (output - y) / NOISE**2
        value = -0.5 * float((output - y) @ error) - 0.5 * float(q @ q) / PRIOR**2
        second = self._parts(q)[2]
        inner = error[:, None] * second[None] / np.sqrt(HIDDEN) * (1 - hidden**2)
        gradient = np.concatenate([
            (x.T @ inner / np.sqrt(max(self._inputs, 1))).ravel(), inner.sum(0),
            hidden.T @ error / np.sqrt(HIDDEN), [error.sum()],
        ])  # fmt: skip
        return value, -gradient - q / PRIOR**2

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return the mean and standard deviation of the sampled networks for each row."""
        if self._samples is None:
            raise StudyError("the Bayesian network was asked before it had data.")
        x = 2.0 * features - 1.0
        outputs = np.array([self._forward(q, x)[0] for q in self._samples])
        mean: Vector = outputs.mean(0) * self._scale + self._mean
        deviation: Vector = outputs.std(0) * self._scale
        return mean, deviation
