"""Predictors: numbers from decisions. `SURROGATES` also say how unsure they are."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from whet.core.errors import unknown
from whet.search.genes import Features, Vector

SURROGATES = {
    "gaussian-process": "whet.search.predictors.gaussian_process:GaussianProcess",
    "infinite-width": "whet.search.predictors.infinite_width:InfiniteWidth",
    "ensemble": "whet.search.predictors.ensemble:Ensemble",
    "bayesian-network": "whet.search.predictors.bayesian_network:BayesianNetwork",
}


class Surrogate(Protocol):
    """A regression of one number that knows how unsure it is."""

    def fit(self, features: Features, values: Vector) -> Any:
        """Learn from rows of features and their values; return itself."""
        ...

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return a mean and a standard deviation for each row."""
        ...


def surrogate(name: str, seed: int = 0) -> Surrogate:
    """Return a new surrogate by its name.

    Raises: UnknownNameError for a name that is not in `SURROGATES`.
    """
    if name not in SURROGATES:
        raise unknown("surrogate", name, SURROGATES)
    module, _, attribute = SURROGATES[name].partition(":")
    made: Surrogate = getattr(import_module(module), attribute)(seed=seed)
    return made
