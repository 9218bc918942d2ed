"""Strategies by name: `get("tpe", space, seed)`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from whet import catalogue
from whet.core.errors import DecisionError
from whet.core.space import Space
from whet.core.strategy import Strategy

STRATEGIES = tuple(catalogue.names("strategy"))
NEEDS = {"cmaes": "cmaes"}
"""The package that a strategy needs beside those of the project."""


def check(words: str) -> None:
    """Raise the error of a strategy that does not exist or whose package is not installed; nothing is imported."""
    call = catalogue.read(words, "strategy")
    package = NEEDS.get(call.options.get("sampler", ""))
    if package and find_spec(package) is None:
        raise DecisionError(f"strategy '{words}' needs the package '{package}': pip install {package}")


def get(
    words: str,
    space: Space,
    seed: int = 0,
    directions: Sequence[str] = ("maximize", "minimize"),
    **options: Any,
) -> Strategy:
    """Return a strategy on `space` by its words, `tpe` or `regular(width=3)`; `options` go to the method.

    Raises: UnknownNameError for a name that is not in `STRATEGIES`; MethodError for an option that the method does not
    have; DecisionError for a space or objectives that the method cannot work on.
    """
    check(words)
    strategy: Strategy = catalogue.read(words, "strategy")(space, seed=seed, directions=tuple(directions), **options)
    return strategy
