"""How large a weight will be, told by the weights that were decoded before it: its class."""

from __future__ import annotations

from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIGNED = 64
"""Classes of expected amounts, two an octave; from here on the same, of weights that a sign is expected of."""
CLASSES = 2 * SIGNED
ROW_STEPS = 33
"""Amounts that a row may have beside its matrix, two an octave: 2^-8 to 2^8."""
TRUST = 4
"""How many rows the mean of a position and of a channel count beside the rows of a single column."""
KERNEL_TRUST = 2
"""How many weights of the mean amount the expectation of a kernel counts beside its own."""
LEAST_BLOCK, MOST_BLOCK = 128, 1 << 17
"""Weights that are decoded at once."""
GROWTH = 1.0
"""A block has as many rows as came before it."""
QUARTERS = np.array([isqrt(isqrt(1 << (k + 48))) for k in range(4 * 45)], np.float64) / 2.0**12
"""2^(k / 4), of whole numbers: nothing is decoded wrong where a machine's logarithm rounds otherwise."""
ROOT_HALF = float(QUARTERS[2]) / 2.0
EIGHTH = 8 * 4
"""The place in `QUARTERS` of the amount 1: amounts are told apart from 2^-8 on."""


class Layout(NamedTuple):
    """A matrix of weights: its rows, the channels of each, and how many positions a channel has, as 9 in a 3x3 kernel.

    With `swapped` rows and channels are what the file has as channels and rows.
    """

    rows: int
    channels: int
    positions: int = 1
    swapped: bool = False

    @property
    def size(self) -> int:
        """How many weights there are."""
        return self.rows * self.channels * self.positions

    def rows_of(self, flat: Array) -> Array:
        """Return the weights, flat as in the file, as `(rows, channels * positions)`."""
        if not self.swapped:
            return flat.reshape(self.rows, -1)
        return flat.reshape(self.channels, self.rows, -1).swapaxes(0, 1).reshape(self.rows, -1)

    def flat_of(self, rows: Array) -> Array:
        """Return what `rows_of` was given, `(size,)`."""
        if not self.swapped:
            return rows.reshape(-1)
        return rows.reshape(self.rows, self.channels, -1).swapaxes(0, 1).reshape(-1)

    def blocks(self) -> list[tuple[int, int]]:
        """Return from which row to which is decoded at once: the first few, then as many as before."""
        columns, found, at = self.channels * self.positions, list[tuple[int, int]](), 0
        while at < self.rows:
            step = min(max(int(at * GROWTH), LEAST_BLOCK // columns, 1), max(1, MOST_BLOCK // columns))
            found.append((at, min(at + step, self.rows)))
            at += step
        return found

    def parts(self, kernel: bool) -> list[slice]:
        """Return which positions are decoded at once: all, or one after the other.

        Groups of one, two and six positions of a 3x3 kernel took 1.5 % more bytes and were no faster.
        """
        return [slice(i, i + 1) for i in range(self.positions)] if kernel else [slice(0, self.positions)]


def steps_of(values: Array) -> Array:
    """Return the amounts in quarters of an octave from 2^-8 on, 0 for less.

    >>> steps_of(np.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [0, 32, 36, 38]
    """
    return np.searchsorted(QUARTERS, values * 256.0, side="right").clip(1) - 1


class Coding(NamedTuple):
    """What the contexts of a matrix know: its mean amount, as `steps_of` has it, and whether rows, columns and kernels.

    With `rows` the amount of each row is told beforehand; with `columns` those of earlier rows count, with `kernel`
    those at earlier positions of the same kernel.
    """

    mean: int
    rows: bool = False
    columns: bool = False
    kernel: bool = False


class Context:
    """Classes of the weights of a matrix, a block of rows after the other, and in it with `kernel` each position.

        class = log2(row * column * kernel) in halves of an octave
        column_j = (sum_i a_ij / row_i + TRUST * prior_j) / (rows + TRUST),    prior_j = position * channel / mean
        kernel = (sum a + KERNEL_TRUST * mean) / (sum expected + KERNEL_TRUST * mean)    over earlier positions

    where `a` are amounts, |w| for integers, of what came before; `row` is told (`row_steps`, from 0 to ROW_STEPS - 1),
    1 where it is not. Weights whose kernel's sum so far has a sign are in other classes, `SIGNED` further. Only
    operations that round alike everywhere are used, and sums of whole numbers that floats hold exactly in any order of
    adding, so that the decoder comes to the encoder's classes.
    """

    def __init__(
        self, layout: Layout, amounts: Array, signs: Array | None, coding: Coding, row_steps: Array | None
    ) -> None:  # fmt: skip
        self.layout, self.amounts, self.signs, self.coding = layout, amounts, signs, coding
        self.row_steps = None if row_steps is None else row_steps.astype(np.int64)
        self.mean = float(QUARTERS[coding.mean]) / 256.0
        self.sums = np.zeros((layout.channels, layout.positions))
        self.seen = 0
        self.block = 0, 0

    def begin(self, start: int, stop: int) -> None:
        """Go on to a block of rows."""
        self.block = start, stop
        self.column = self._expected()
        self.before = np.zeros((stop - start, self.layout.channels))
        self.expected, self.sign = self.before.copy(), self.before.copy()

    def classes(self, part: slice) -> Array:
        """Return the classes of the weights of some positions of the block, uint8 `(rows, channels * positions)`."""
        start, stop = self.block
        if part.start > 0:
            return self._of_kernel(part).reshape(stop - start, -1)
        column = self.column[:, part].reshape(-1)
        quarters = steps_of(column).astype(np.int16)
        if self.row_steps is None:
            found: Array = np.broadcast_to(quarters >> 1, (stop - start, len(quarters)))
        else:
            rows = 2 * (self.row_steps[start:stop].astype(np.int16) - ROW_STEPS // 2)
            found = (quarters + rows[:, None]) >> 1
        return np.asarray(found.clip(0, SIGNED - 1).astype(np.uint8))

    def _of_kernel(self, part: slice) -> Array:
        known = KERNEL_TRUST * self.mean
        ratio = self._row_factors() * ((self.before + known) / (self.expected + known))
        fraction, power = np.frexp(self.column[:, part] * ratio[:, :, None])
        found: Array = (2 * (power + 7) + (fraction >= ROOT_HALF)).clip(0, SIGNED - 1)
        found = found + SIGNED * (self.sign != 0)[:, :, None]
        return found.astype(np.uint8)

    def _row_factors(self) -> Array:
        if self.row_steps is None:
            return np.ones((1, 1))
        start, stop = self.block
        places = EIGHTH + 2 * (self.row_steps[start:stop] - ROW_STEPS // 2)
        return (QUARTERS[places] / 256.0)[:, None]

    def learn(self, part: slice, symbols: Array) -> None:
        """Take weights of the block into account that are known now, `(rows, channels * positions)` of a part."""
        amounts = self.amounts[symbols]
        start, stop = self.block
        if part.stop < self.layout.positions:
            sides = stop - start, self.layout.channels, -1
            self.before += amounts.reshape(sides).sum(2)
            for position in range(part.start, part.stop):
                self.expected += self._row_factors() * self.column[:, position]
            if self.signs is not None:
                self.sign += self.signs[symbols].reshape(sides).sum(2)
        if self.coding.columns:
            if self.row_steps is None:
                sums = 256.0 * amounts.sum(0)
            else:
                places = EIGHTH - 2 * (self.row_steps[start:stop] - ROW_STEPS // 2)
                sums = np.floor(QUARTERS[places]) @ amounts
            self.sums[:, part] += sums.reshape(self.layout.channels, -1)
            self.seen += (stop - start) if part.stop == self.layout.positions else 0

    def _expected(self) -> Array:
        """Return the amount that each column is expected to have, `(channels, positions)`."""
        if not self.coding.columns or self.seen == 0:
            return np.full(self.sums.shape, self.mean)
        known = TRUST * 256.0 * self.mean
        whole = (self.sums.sum() / self.sums.size + known) / (self.seen + TRUST)
        channel = (self.sums.sum(1) / self.sums.shape[1] + known) / (self.seen + TRUST)
        position = (self.sums.sum(0) / self.sums.shape[0] + known) / (self.seen + TRUST)
        prior = channel[:, None] * position[None, :] / whole
        found: Array = (self.sums + TRUST * prior) / (self.seen + TRUST) / 256.0
        return found


def row_steps(amounts: Array) -> Array:
    """Return the mean amount of each row beside that of all, in halves of an octave, uint8 `(rows,)`."""
    means = amounts.mean(1)
    ratio = means / max(float(means.mean()), 1e-9)
    steps: Array = np.round(2 * np.log2(ratio.clip(2.0**-8, 2.0**8))) + ROW_STEPS // 2
    return steps.astype(np.uint8)
