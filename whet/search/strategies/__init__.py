"""Strategies by name: `get("tpe", space, seed)`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from whet.core.errors import DecisionError, unknown
from whet.core.space import Space
from whet.core.strategy import Strategy

STRATEGIES = {
    "sensitivity": "whet.search.strategies.sensitivity:Sensitivity",
    "improvement": "whet.search.strategies.improvement:Improvement",
    "alternating": "whet.search.strategies.alternating:Alternating",
    "bayesian": "whet.search.strategies.bayesian:Bayesian",
    "sweep": "whet.search.strategies.sweep:Sweep",
    "early-exit": "whet.search.strategies.early_exit:EarlyExitEvolution",
    "tree": "whet.search.strategies.tree:TreeSearch",
    "bandits": "whet.search.strategies.bandits:Bandits",
    "divided": "whet.search.strategies.divided:Divided",
    "regular": "whet.search.strategies.regular:Regular",
    "llama-nas": "whet.search.strategies.llama_nas:LlamaNas",
    "one-shot": "whet.search.strategies.one_shot:OneShot",
    "random": "whet.search.strategies.random:RandomStrategy",
    "tpe": "whet.search.strategies.optuna:tpe",
    "gp": "whet.search.strategies.optuna:gp",
    "nsga2": "whet.search.strategies.optuna:nsga2",
    "nsga3": "whet.search.strategies.optuna:nsga3",
    "cmaes": "whet.search.strategies.optuna:cmaes",
}


NEEDS = {"cmaes": "cmaes"}
"""The package that a strategy needs beside those of the project."""


def check(name: str) -> None:
    """Raise the error of a strategy that does not exist or whose package is not installed; nothing is imported."""
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    package = NEEDS.get(name)
    if package and find_spec(package) is None:
        raise DecisionError(f"strategy '{name}' needs the package '{package}': pip install {package}")


def get(
    name: str,
    space: Space,
    seed: int = 0,
    directions: Sequence[str] = ("maximize", "minimize"),
    **options: Any,
) -> Strategy:
    """Return the strategy `name` on `space`; `options` go to the method (for Optuna's, to the sampler).

    Raises: UnknownNameError for a name that is not in `STRATEGIES`; DecisionError for a space or objectives
    that the method cannot work on.
    """
    check(name)
    module, _, attribute = STRATEGIES[name].partition(":")
    make = getattr(import_module(module), attribute)
    strategy: Strategy = make(space, seed=seed, directions=tuple(directions), **options)
    return strategy
