"""`Grid`: the numbers that a weight may take: integers of so many bits times a scale for each channel or group."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, whole
from whet.graph.multiples import settled

CLIPS = torch.linspace(1.0, 0.4, 25)
"""Shares of the largest value among which a scale of few bits is chosen."""
EXACT_BITS = 8
"""From so many bits on the scale reaches the largest value: what clipping saves in rounding is nothing then."""


@dataclass(frozen=True)
class Grid:
    """Signed symmetric integers of `bits`: w ~ s q with q in -most..most, most = 2^(bits - 1) - 1, or `top` if given.

    A scale belongs to each output channel, or with `group` to each so many weights that follow one another in an
    output channel; where `group` does not divide these, to each channel. With `within` the scales of a channel's groups
    are whole multiples of one, so that weights are integers of so many bits as well (`graph.multiples`). With `points`
    the weights of a layer take so many of the integers, which ones is the layer's own. `name` is how reports call it.

    >>> Grid(4).most, Grid(8).most, Grid(4, group=32).name, Grid(3, top=2).name
    (7, 127, 'int4 in groups of 32', '5 levels')
    """

    bits: int = 8
    group: int = 0
    top: int = 0
    within: int = 0
    points: int = 0

    def __post_init__(self) -> None:
        whole("bits", self.bits, least=2)
        whole("group", self.group, least=0)
        whole("top", self.top, least=0)
        whole("within", self.within, least=0)
        whole("points", self.points, least=0)
        if self.within and self.multiple < 2:
            raise ValueRangeError(f"integers of {self.within} bits have no room for multiples of those of {self.bits}.")

    @property
    def most(self) -> int:
        """The largest integer of the grid."""
        return self.top or int(2 ** (self.bits - 1) - 1)

    @property
    def multiple(self) -> int:
        """The largest multiple that the scale of a group is of its channel's, of a grid `within` more bits."""
        return int(2 ** (self.within - 1) - 1) // self.most

    @property
    def name(self) -> str:
        """What reports call the grid, such as `int4 in groups of 32`."""
        name = f"{2 * self.top + 1} levels" if self.top else f"int{self.bits}"
        name = f"{self.points} points" if self.points else name
        return name + (f" in groups of {self.group}" if self.group else "")

    def group_of(self, weight: Tensor) -> int:
        """Return how many weights share a scale: the group where it divides those of a channel, else all of them."""
        each = weight[0].numel()
        return self.group if self.group and each % self.group == 0 else each

    def rows(self, weight: Tensor) -> Tensor:
        """Return the weight, `(out, ...)`, with a row for each scale."""
        return weight.reshape(-1, self.group_of(weight))

    def scale(self, weight: Tensor) -> Tensor:
        """Return the scales, a number a row.

            s = c max|w| / most,    c = argmin over CLIPS of |w - s round(w / s)|^2    (1 from 8 bits on, and of points)

        Paper: Choukroun et al. 2019, Low-bit Quantization of Neural Networks for Efficient Inference, which chooses the
        scale of each kernel so.
        """
        rows = self.rows(weight.detach().float())
        widest = widest_scale(rows, self.most)
        if self.bits >= EXACT_BITS or self.points:
            return widest
        best, least = widest, torch.full_like(widest, torch.inf)
        for clip in CLIPS:
            scale = widest * clip
            error = (rows - self._rounded(rows, scale) * scale[:, None]).square().sum(1)
            best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
        return self.settled(weight, best)

    def settled(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return scales as the grid has them: whole multiples of one a channel where it asks for that."""
        return settled(scale, len(weight), self.multiple) if self.within else scale

    def integers(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the integers, int8 and of the weight's shape, for scales of its rows."""
        return self._rounded(self.rows(weight.detach()), self.settled(weight, scale)).to(torch.int8).view_as(weight)

    def nearest(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the weight as it is on the grid, a row for each scale, for scales of its rows.

        >>> Grid(4).nearest(torch.tensor([[1.0, 0.6], [8.0, -9.0]]), torch.tensor([0.5, 1.0])).tolist()
        [[1.0, 0.5], [7.0, -7.0]]
        """
        return self.rows(self.integers(weight, scale).float()) * self.settled(weight, scale).unsqueeze(1)

    def _rounded(self, rows: Tensor, scale: Tensor) -> Tensor:
        return torch.clamp(torch.round(rows / scale[:, None]), -self.most, self.most)


INT8 = Grid(8)


def stored_bits(grid: Grid) -> float:
    """Return the bits of a weight in a file: those of its digits where they are fewer than four.

    >>> stored_bits(Grid(4)), round(stored_bits(Grid(3)), 2), round(stored_bits(Grid(2)), 2)
    (4.0, 2.81, 1.58)
    """
    return float(grid.bits) if grid.bits >= 4 else math.log2(2 * grid.most + 1)


@dataclass(frozen=True)
class InputGrid:
    """Unsigned integers of `bits` for what layers read: x ~ s (q - z) with q in 0..most, most = 2^bits - 1.

    One scale s and zero point z a tensor; z is 0 where nothing is negative, `middle` for symmetric grids. No runtime
    here multiplies inputs of fewer than eight bits: such a grid is simulated, and no file is written with it.

    >>> InputGrid(4).most, InputGrid(4).middle, InputGrid(4).name, InputGrid(4).is_simulated
    (15, 8, '4-bit inputs, simulated', True)
    """

    bits: int = 8

    def __post_init__(self) -> None:
        whole("bits", self.bits, least=1)

    @property
    def most(self) -> int:
        """The largest integer of the grid."""
        return int(2**self.bits - 1)

    @property
    def middle(self) -> int:
        """The zero point that stands for signed integers."""
        return int(2 ** (self.bits - 1))

    @property
    def is_simulated(self) -> bool:
        """Whether no runtime computes with such inputs."""
        return self.bits < EXACT_BITS

    @property
    def name(self) -> str:
        """What reports call the grid."""
        return f"{self.bits}-bit inputs" + ", simulated" * self.is_simulated


INPUT8 = InputGrid(8)


def widest_scale(rows: Tensor, most: int) -> Tensor:
    """Return the scale of each row with which its largest value becomes `most`: `max|w| / most`, shape `(rows,)`."""
    return rows.abs().amax(1).clamp_min(1e-8) / most
