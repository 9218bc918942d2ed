"""Which range of a tensor the steps of an integer, 256 of eight bits, should span."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from whet.graph.fake_quantize import ACTIVATION_MAX, asymmetric_grid

Range = tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """What calibration showed of a tensor: a random sample of its values, and its extremes, which no sample holds."""

    values: Tensor
    low: float
    high: float

    @classmethod
    def of(cls, parts: Sequence[Seen]) -> Seen:
        """Return what several batches showed together."""
        return cls(torch.cat([p.values for p in parts]), min(p.low for p in parts), max(p.high for p in parts))

    @classmethod
    def whole(cls, values: Tensor) -> Seen:
        """Return all there is to see of a tensor of any shape: every value, none drawn."""
        return cls(values.flatten(), float(values.min()), float(values.max()))


def symmetric(low: float, high: float, most: int = ACTIVATION_MAX) -> tuple[float, int]:
    """Return scale and zero point of the symmetric grid of integers up to `most` that holds [low, high].

    The zero point is 0 where nothing is negative, else the middle, 128 of 256: written as a signed integer that is 0,
    too, and a layer needs no correction for it, `sum (q_x - z) q_w = sum q_x q_w - z sum q_w`. The price is the part of
    the grid that the smaller side of the range does not use.

    >>> symmetric(0.0, 255.0), symmetric(-1.0, 127.0)
    ((1.0, 0), (1.0, 128))
    """
    if low >= 0:
        return max(high / most, 1e-8), 0
    middle = (most + 1) // 2
    return max(-low / middle, high / max(most - middle, 1), 1e-8), middle


def asymmetric(low: float, high: float, most: int = ACTIVATION_MAX) -> tuple[float, int]:
    """Return scale and zero point of the grid whose ends are those of [low, high], widened to hold zero exactly.

    >>> asymmetric(-5.0, 250.0)
    (1.0, 5)
    """
    ends = torch.tensor([low, high], dtype=torch.float64)
    scale, zero = asymmetric_grid(ends[0], ends[1], most)
    return float(scale), int(zero)


class Grid(Protocol):
    """Scale and zero point for a range and the largest integer: `symmetric` or `asymmetric`."""

    def __call__(self, low: float, high: float, most: int = ACTIVATION_MAX) -> tuple[float, int]: ...


def rounding_error(
    values: Tensor, low: float, high: float, grid: Grid = symmetric, most: int = ACTIVATION_MAX
) -> float:
    """Return the mean squared error of rounding `values`, of any shape, to the grid over [low, high]."""
    scale, zero = grid(low, high, most)
    rounded = (torch.clamp(torch.round(values / scale) + zero, 0, most) - zero) * scale
    return float((rounded - values).square().mean())


def min_max(seen: Seen, grid: Grid = symmetric) -> Range:
    """Return the whole range.

    >>> min_max(Seen.whole(torch.tensor([-1.0, 3.0])))
    (-1.0, 3.0)
    """
    return seen.low, seen.high


def percentile(seen: Seen, grid: Grid = symmetric, share: float = 0.9999) -> Range:
    """Return the range that holds `share` of the values, cutting as many off at either end."""
    ordered = seen.values.sort().values
    outside = int((1 - share) / 2 * (ordered.numel() - 1))
    return float(ordered[outside]), float(ordered[ordered.numel() - 1 - outside])


def mean_squared_error(seen: Seen, grid: Grid = symmetric, candidates: int = 40, most: int = ACTIVATION_MAX) -> Range:
    """Return the shrunken whole range of least mean squared rounding error, `argmin_r E (x - Q_r(x))^2`.

    Candidates are the whole range times k / `candidates`. The whole range is among them, so the error is never
    above that of `min_max`. Of fewer than eight bits ranges down to a tenth are tried: there much more is clipped.
    (Banner et al. 2019, Post-training 4-bit quantization.)
    """
    best, least = (seen.low, seen.high), float("inf")
    for k in range(candidates, candidates // (4 if most >= ACTIVATION_MAX else 10), -1):
        tried = seen.low * k / candidates, seen.high * k / candidates
        error = rounding_error(seen.values, *tried, grid, most)
        if error < least:
            best, least = tried, error
    return best


Observer = Callable[[Seen, Grid], Range]
OBSERVERS: dict[str, Observer] = {
    "min_max": min_max,
    "percentile": percentile,
    "mean_squared_error": mean_squared_error,
}
