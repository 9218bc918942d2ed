"""Fractions of channels, ranks and terms: what all methods with such choices share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from whet.core.errors import DecisionError
from whet.core.space import Decision


def check_fractions(fractions: Sequence[float]) -> None:
    """Raise DecisionError for what are no fractions, or where the whole, 1.0, is not among them."""
    if 1.0 not in fractions or not all(0 < f <= 1 for f in fractions):
        raise DecisionError(f"fractions must lie in (0, 1] and include 1.0; got {fractions!r}.")


def all_alike(choices: Iterable[str], fractions: Sequence[float]) -> list[Decision]:
    """Return each fraction but the whole for all choices at once, the largest first.

    >>> all_alike(["a:width", "b:width"], (0.5, 1.0))
    [Decision({'a:width': 0.5, 'b:width': 0.5})]
    """
    names = list(choices)
    return [Decision(dict.fromkeys(names, f)) for f in sorted(fractions, reverse=True) if f != 1.0 and names]


def aligned(even: float, fraction: float, fractions: Sequence[float], step: int, most: int) -> int:
    """Return how many units a fraction of `even` is, channels or ranks: halves round up.

    They are multiples of `step`, halved until the smallest of the `fractions` has a step at least, and `most` at most.

    >>> [aligned(100.0, q, (0.25, 0.5), 8, 64) for q in (0.25, 0.5, 0.75)], aligned(12.0, 0.25, (0.25,), 8, 64)
    ([24, 48, 64], 4)
    """
    while step > 1 and step > min(fractions) * even:
        step //= 2
    return min(most, step * max(1, int(fraction * even / step + 0.5)))
