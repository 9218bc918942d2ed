"""How weights are put on their grids, by name: one line each, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from torch import Tensor

from whet.core.errors import unknown
from whet.graph.grids import Grid

NEAREST, COMPENSATED = "nearest", "compensated"
"""What asks nothing of the data, on the scales of the grid itself, and what is taken where nothing is said."""
ATTENTION_AWARE = "attention-aware"
"""`COMPENSATED` but for queries, keys and values (`compress.quantize.attention_aware`)."""
ROUNDERS = {
    COMPENSATED: "whet.compress.quantize.rounding:compensation",
    ATTENTION_AWARE: "whet.compress.quantize.rounding:compensation",
    "path-following": "whet.compress.quantize.path_following:path_following",
    "sparse-path-following": "whet.compress.quantize.path_following:sparse_path_following",
    "similarity": "whet.compress.quantize.similarity:similarity",
}
"""By name the `Rounder`s that go by the second moments of what a layer reads."""


class Rounder(Protocol):
    """Puts a weight on a grid by the second moments of what it reads; returns the weight on the grid and its scales.

    Shapes: weight `(groups, out / groups, d)`, moments `(groups, d, d)`, scales as `grid.scale` gives them. What is
    `held`, of the weight's shape, becomes zero.
    """

    def __call__(self, weight: Tensor, moments: Tensor, grid: Grid, held: Tensor | None) -> tuple[Tensor, Tensor]: ...


def check(name: str) -> str:
    """Return the name of a way of rounding. Raises: UnknownNameError for one that there is not.

    >>> check("path-folowing")
    Traceback (most recent call last):
        ...
    whet.core.errors.UnknownNameError: unknown rounding 'path-folowing'; did you mean 'path-following'? Allowed: \
attention-aware, compensated, nearest, path-following, similarity, sparse-path-following.
    """
    if name not in (NEAREST, *ROUNDERS):
        raise unknown("rounding", str(name), (NEAREST, *ROUNDERS))
    return name


def rounder(name: str) -> Rounder:
    """Return a rounder by its name among `ROUNDERS`."""
    module, _, attribute = ROUNDERS[check(name)].partition(":")
    found: Rounder = getattr(import_module(module), attribute)
    return found
