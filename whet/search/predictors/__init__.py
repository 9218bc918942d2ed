"""Predictors: numbers from decisions. `SURROGATES` also say how unsure they are."""

from __future__ import annotations

from typing import Any, Protocol

from whet import catalogue
from whet.decisions.genes import Features, Vector

SURROGATES = tuple(catalogue.names("surrogate"))


class Surrogate(Protocol):
    """A regression of one number that knows how unsure it is."""

    def fit(self, features: Features, values: Vector) -> Any:
        """Learn from rows of features and their values; return itself. Shapes (n, features) and (n,)."""
        ...

    def predict(self, features: Features) -> tuple[Vector, Vector]:
        """Return a mean and a standard deviation for each row. Shape (n, features) to two of (n,)."""
        ...


def surrogate(name: str, seed: int = 0) -> Surrogate:
    """Return a new surrogate by its name.

    Raises: UnknownNameError for a name that is not in `SURROGATES`.
    """
    made: Surrogate = catalogue.read(name, "surrogate")(seed=seed)
    return made
