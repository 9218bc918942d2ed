"""Design spaces: populations of networks compared by how their errors are distributed, and the regular ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import SpecError


@dataclass(frozen=True)
class Stage:
    """`depth` blocks of `width` channels."""

    width: int
    depth: int


def quantized_linear(
    depth: int, initial_width: float, slope: float, multiplier: float, multiple: int = 8
) -> list[Stage]:
    """Return the stages of a network whose widths grow linearly with the block, quantized to few values.

    Block j of `depth` has the wanted width `u_j = initial_width + slope * j` and gets

        w_j = initial_width * multiplier ^ round(log(u_j / initial_width) / log(multiplier)),

    rounded to a multiple of `multiple`; runs of equal widths are the stages.

    >>> quantized_linear(13, 24, 36.44, 2.49)
    [Stage(width=24, depth=1), Stage(width=56, depth=1), Stage(width=152, depth=4), Stage(width=368, depth=7)]

    Paper: Radosavovic et al. 2020, Designing Network Design Spaces. Raises: SpecError for parameters that give
    no growing widths.
    """
    if depth < 1 or initial_width <= 0 or slope < 0 or multiplier <= 1:
        raise SpecError(
            "a quantized linear design needs depth >= 1, initial_width > 0, slope >= 0 and multiplier > 1; got "
            f"depth={depth}, initial_width={initial_width}, slope={slope}, multiplier={multiplier}."
        )
    wanted = initial_width + slope * np.arange(depth)
    steps = np.round(np.log(wanted / initial_width) / math.log(multiplier))
    widths = np.round(initial_width * multiplier**steps / multiple).astype(int) * multiple
    values, counts = np.unique(np.maximum(widths, multiple), return_counts=True)
    return [Stage(int(w), int(d)) for w, d in zip(values, counts, strict=True)]


def share_below(errors: Sequence[float], threshold: float) -> float:
    """Return the empirical distribution of a population's errors, `F(e) = |{i : e_i < e}| / n`.

    >>> share_below([0.1, 0.2, 0.4], 0.3)
    0.6666666666666666
    """
    return float(np.mean(np.asarray(errors, dtype=float) < threshold)) if len(errors) else 0.0


def superiority(errors: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the probability that a network drawn from one population has the smaller error, ties counting half.

    It is one half plus the mean height of the first distribution over the second, so a space is the better one when
    its distribution lies above.

    >>> superiority(np.array([0.1, 0.3]), np.array([0.2, 0.3]))
    0.625
    """
    smaller = (errors[:, None] < others[None, :]).mean()
    return float(smaller + 0.5 * (errors[:, None] == others[None, :]).mean())
