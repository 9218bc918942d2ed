"""Fast scaling: how to share a change of a network's size among its depth, width and resolution."""

from __future__ import annotations

from dataclasses import dataclass

from whet.core.errors import SpecError
from whet.core.space import Choice, Decision, Space, Value
from whet.decisions.genes import ordered

FAST = 0.8
UNIFORM = 1 / 3


@dataclass(frozen=True)
class Scaling:
    """Factors on depth, width and resolution, and what they do to a convolutional network's cost."""

    depth: float
    width: float
    resolution: float

    @property
    def operations(self) -> float:
        """Multiply-accumulates go as `depth * width^2 * resolution^2`."""
        return self.depth * self.width**2 * self.resolution**2

    @property
    def parameters(self) -> float:
        """Parameters go as `depth * width^2`."""
        return self.depth * self.width**2

    @property
    def activations(self) -> float:
        """Activations, on which memory-bound run time depends, go as `depth * width * resolution^2`."""
        return self.depth * self.width * self.resolution**2


def scaling(factor: float, alpha: float = FAST) -> Scaling:
    """Return the scaling by which operations grow `factor`-fold, the share `alpha` of it through the width.

        depth = s^((1 - alpha) / 2),   width = s^(alpha / 2),   resolution = s^((1 - alpha) / 4)

    Activations grow as `s^(1 - alpha / 2)`: by 0.6 for the fast scaling of alpha = 0.8, near the square root that
    width alone gives and below the 5/6 of scaling all three alike (alpha = 1/3). Factors below one shrink.

    >>> s = scaling(16.0)
    >>> round(s.operations, 6), round(s.activations, 4) == round(16**0.6, 4)
    (16.0, True)

    Paper: Dollar, Singh and Girshick 2021, Fast and Accurate Model Scaling. Raises: SpecError.
    """
    if factor <= 0 or not 0 <= alpha <= 1:
        raise SpecError(f"a scaling needs factor > 0 and alpha in [0, 1]; got factor={factor}, alpha={alpha}.")
    rest = (1 - alpha) / 2
    return Scaling(factor**rest, factor ** (alpha / 2), factor ** (rest / 2))


def scaled(space: Space, factor: float, alpha: float = FAST) -> Decision:
    """Return the decision of a space nearest to a scaling: widths by their factor, blocks dropped evenly.

    >>> space = Space([*(Choice(f"b{i}:keep", (True, False), True) for i in range(4)),
    ...                Choice("a:width", (0.25, 0.5, 0.75, 1.0), 1.0)])
    >>> dict(scaled(space, 0.25, alpha=1.0)), dict(scaled(space, 0.25, alpha=0.0))
    ({'a:width': 0.5}, {'b0:keep': False, 'b2:keep': False})
    """
    by = scaling(factor, alpha)
    values: dict[str, Value] = {}
    blocks = [c for c in space if c.name.endswith(":keep")]
    gone = round(len(blocks) * (1 - min(by.depth, 1.0)))
    for i in range(gone):
        values[blocks[i * len(blocks) // gone].name] = False
    for choice in space:
        if choice.name.endswith(":width") and ordered(choice):
            values[choice.name] = _nearest(choice, by.width)
    return space.canonical(Decision(values))


def _nearest(choice: Choice, wanted: float) -> Value:
    return min(choice.values, key=lambda v: abs(float(v) - wanted))
