"""Calibration: the second moments of what layers read, and the least-squares problems that they solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from whet.compress.lockstep import Inputs, Lockstep, limited, mask_of, pieces, survey
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.task import Task, first_inputs
from whet.graph.readers import Reader, find_readers

ROWS = 16
"""Rows taken for each input of a layer, out of all positions of all samples."""
MEMORY_BYTES = 512 * 2**20
"""For matrices at a time, and for what a repair remembers of the original."""
LARGEST = 4096
"""Inputs of one matrix product that are solved together: four matrices of 128 MB in float64 meanwhile."""

STRIPE = 128
"""Rows of a square of moments that are multiplied at a time."""

MOST_SAMPLES, MOST_WORK = 4096, 2 * 10**10
"""Samples that are looked at, and multiplications that they take, where fewer leave layers with too few rows."""

EXACT = 128
"""Inputs up to which products are taken in float64: their cost is not noticed."""


@dataclass(frozen=True)
class Moments:
    """First and second moments of a layer's inputs x, and cross moments with y, what its outputs should be.

        xx = sum (x - mean)(x - mean)^T / count,    yx = sum (y - y_mean)(x - mean)^T / count

    Shapes: xx `(groups, d, d)`, mean `(groups, d)`, yx `(groups, out / groups, d)`, y_mean and yy, the variance of each
    output, `(groups, out / groups)`.
    """

    count: int
    mean: Tensor
    xx: Tensor
    y_mean: Tensor
    yx: Tensor
    yy: Tensor

    def raw(self) -> Moments:
        """Return the moments about zero: what a layer without bias has to do with."""
        xx = self.xx + self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)
        yx = self.yx + self.y_mean.unsqueeze(-1) * self.mean.unsqueeze(-2)
        zeros = torch.zeros_like(self.mean), torch.zeros_like(self.y_mean)
        return Moments(self.count, zeros[0], xx, zeros[1], yx, self.yy + self.y_mean**2)

    def error(self, weight: Tensor) -> float:
        """Return E|y - W x - b|^2 with the best b; with none, for raw moments."""
        w = weight.double()
        return float(self.yy.sum() + ((w @ self.xx - 2 * self.yx) * w).sum())

    def solved(self, weight: Tensor, damping: float) -> Tensor | None:
        """Return argmin_V E|y - V x - b|^2 + damping * mean(diagonal of xx) * |V - weight|^2; None if it is singular.

        The error never exceeds that of `weight`, which pays no penalty. What the data do not show, where rows are fewer
        than inputs or inputs are constant or depend on each other, stays as it is in `weight`.
        """
        w = weight.double()
        ridge = damping * self.xx.diagonal(dim1=-2, dim2=-1).mean(-1)
        ridge = ridge.clamp(min=max(1e-9 * float(ridge.max()), 1e-30)).view(-1, 1, 1)
        factor, failed = torch.linalg.cholesky_ex(self.xx + ridge * torch.eye(self.xx.shape[-1], dtype=torch.float64))
        if failed.any():
            return None
        return (w + torch.cholesky_solve((self.yx - w @ self.xx).mT, factor).mT).to(weight.dtype)

    def joined(self, other: Moments) -> Moments:
        """Return the moments of the rows of both."""
        a, b = self.count / (self.count + other.count), other.count / (self.count + other.count)
        x, y = other.mean - self.mean, other.y_mean - self.y_mean
        xx = a * self.xx + b * other.xx + a * b * x.unsqueeze(-1) * x.unsqueeze(-2)
        yx = a * self.yx + b * other.yx + a * b * y.unsqueeze(-1) * x.unsqueeze(-2)
        means = self.mean + b * x, self.y_mean + b * y
        return Moments(self.count + other.count, means[0], xx, means[1], yx, a * self.yy + b * other.yy + a * b * y * y)


def least_squares(
    first: Moments, second: Moments, weight: Tensor, dampings: Sequence[float], guess: float | None = None
) -> tuple[Tensor, float]:
    """Return the weight solved on all rows, and the damping that, on the first rows alone, errs least on the second.

    Of the `dampings`, in order, neighbours are tried from the `guess` on, or from the middle, down the hill. The
    weight, `(groups, out / groups, d)`, comes back as it was, with damping infinite, where they leave it singular.
    """
    both = first.joined(second)
    for damping in _ranked(first, second, weight, dampings, guess):
        if (solved := both.solved(weight, damping)) is not None:
            return solved, damping
    return weight, math.inf


def _ranked(
    first: Moments, second: Moments, weight: Tensor, dampings: Sequence[float], guess: float | None
) -> list[float]:
    """Return the dampings that were tried, those that err least on the second rows first."""
    errors: dict[int, float] = {}

    def error(i: int) -> float:
        if i not in errors:
            solved = first.solved(weight, dampings[i]) if 0 <= i < len(dampings) else None
            errors[i] = math.inf if solved is None else second.error(solved)
        return errors[i]

    at = dampings.index(guess) if guess in dampings else len(dampings) // 2
    while (best := min((at, at + 1, at - 1), key=error)) != at:
        at = best
    return [dampings[i] for i in sorted(errors, key=error) if errors[i] < math.inf]


@dataclass
class Sums:
    """What `Moments` are made of, added up batch by batch.

    Products are taken about the means of the first batch, which keeps digits, in float32 where inputs are more than
    `EXACT`, and added up in float64.
    """

    count: int = 0
    origins: tuple[Tensor, Tensor] | None = None
    sums: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows x `(groups, n, d)` and y `(groups, n, out / groups)`."""
        self.origins = self.origins or (x.mean(1, keepdim=True), y.mean(1, keepdim=True))
        x, y = x - self.origins[0], y - self.origins[1]
        x, y = (x.double(), y.double()) if x.shape[-1] <= EXACT else (x, y)
        new = [n.double() for n in (x.sum(1), _square(x), y.sum(1), y.mT @ x, (y * y).sum(1))]
        self.sums = [s + n for s, n in zip(self.sums, new, strict=True)] if self.sums else new
        self.count += x.shape[1]

    def moments(self) -> Moments:
        """Return the moments of all rows so far. Raises: CalibrationError if there are none."""
        if self.origins is None:
            raise CalibrationError("there are no batches to take moments from.")
        x, xx, y, yx, yy = (s / self.count for s in self.sums)
        xx, yx = xx - x.unsqueeze(-1) * x.unsqueeze(-2), yx - y.unsqueeze(-1) * x.unsqueeze(-2)
        mean, y_mean = x + self.origins[0].squeeze(1), y + self.origins[1].squeeze(1)
        return Moments(self.count, mean, xx, y_mean, yx, (yy - y**2).clamp(min=0))


def _square(x: Tensor) -> Tensor:
    """Return x^T x, `(groups, d, d)`, of which blocks below the diagonal are copies of those above."""
    width = x.shape[-1]
    found = x.new_empty(len(x), width, width)
    for at in range(0, width, STRIPE):
        rows = slice(at, at + STRIPE)
        found[:, rows, at:] = x[..., rows].mT @ x[..., at:]
        found[:, at + STRIPE :, rows] = found[:, rows, at + STRIPE :].mT
    return found


def inputs_of(task: Task, samples: int) -> list[Inputs]:
    """Return the first `samples` calibration inputs, then training inputs where there are too few, batch by batch.

    Raises: CalibrationError if there are none.
    """
    found: list[Inputs] = []
    for source in (task.calibration, task.train):
        left = samples - sum(len(x[0]) for x in found)
        found += list(first_inputs(source, left)) if source is not None and left > 0 else []
    if not found:
        raise CalibrationError(f"task '{task.name}' has neither calibration nor training inputs.")
    return limited(found, samples)


def enough(net: Net, least: int) -> int:
    """Return `least` samples, or more where a layer would have fewer than `ROWS` rows for each of its inputs.

    More are only taken while they take no more than `MOST_WORK` multiplications in all: a perceptron has one row a
    sample, and thousands of samples cost it nothing.
    """
    readers, _ = find_readers(net)
    example = tuple(x[:1] for x in net.example)
    steps, mask = Lockstep(net, [example]), mask_of(net, example)
    wanted, work = 1.0, 1.0

    def count(node: fx.Node) -> None:
        nonlocal wanted, work
        if node.name in readers:
            matrix = readers[node.name].matrix(net)
            values = steps.values[0]
            given = readers[node.name].given(net, values[node], read(readers[node.name], values))
            positions = readers[node.name].positions(given)
            shown = len(chosen_rows(0, positions, math.prod(positions), mask))
            wanted = max(wanted, ROWS * matrix.shape[-1] / shown)
            work += matrix.numel() * math.prod(positions)

    steps.run(after=count)
    return max(least, min(math.ceil(wanted), MOST_SAMPLES, int(MOST_WORK / work)))


def chosen_rows(batch: int, positions: Sequence[int], wanted: int, mask: Tensor | None = None) -> Tensor:
    """Return `wanted` positions of a batch, all if there are fewer, drawn and the same every time: shape `(wanted,)`.

    Fewer are the first of more. A mask of the same positions leaves only those that it shows.
    """
    order = torch.randperm(math.prod(positions), generator=torch.Generator().manual_seed(batch))
    if mask is not None and tuple(mask.shape) == tuple(positions):
        order = order[mask.flatten()[order]]
    return order[:wanted]


def quota(reader: Reader, net: Net, batches: int, rows: float = ROWS) -> int:
    """Return how many rows of each batch are looked at for a layer."""
    return math.ceil(rows * reader.matrix(net).shape[-1] / batches)


def moments(
    net: Net, batches: Collection[Inputs], layers: Collection[Reader], rows: int = ROWS, memory: int = MEMORY_BYTES
) -> dict[str, Moments]:
    """Return by site the moments of what layers read, with y what they gave; in several passes where memory asks.

    At most `rows` rows for each of a layer's inputs are drawn from all positions; `LARGEST` says how many inputs a
    layer may have: larger ones are left out.

    Raises: CalibrationError without batches, or, naming it, if a layer reads NaN or infinity.
    """
    found: dict[str, Moments] = {}
    batches = list(batches)
    if batches:
        batches = pieces(batches, max(1, memory // max(1, survey(net, limited(batches, 1)[0]).most)))
    for some in _passes(net, layers, memory):
        sums = {reader.node: Sums() for reader in some}
        for i, inputs in enumerate(batches):
            steps = Lockstep(net, [inputs], shown=True)
            draw = partial(chosen_rows, i, mask=mask_of(net, inputs))
            steps.run(after=partial(_add, steps, {r.node: r for r in some}, sums, i, len(batches), rows, draw))
        found |= {reader.site: sums[reader.node].moments() for reader in some}
    return found


def _add(
    steps: Lockstep,
    readers: dict[str, Reader],
    sums: dict[str, Sums],
    batch: int,
    batches: int,
    rows: int,
    draw: Callable[[Sequence[int], int], Tensor],
    node: fx.Node,
) -> None:
    if node.name not in readers:
        return
    reader, (values,) = readers[node.name], steps.values
    source = read(reader, values)
    given = reader.given(steps.net, values[node], source)
    positions = reader.positions(given)
    chosen = draw(positions, quota(reader, steps.net, batches, rows))
    x = reader.inputs(steps.net, source, positions, chosen)
    if not x.isfinite().all():
        raise CalibrationError(f"layer '{reader.site}' reads NaN or infinity in calibration batch {batch}.")
    y = reader.outputs(given, chosen)
    sums[node.name].add(x, grouped(y, len(x)))


def read(reader: Reader, values: dict[fx.Node, Any]) -> Tensor:
    """Return what a reader reads, in the shape that its source gave, of the values that are alive."""
    found = next(value for node, value in values.items() if node.name == reader.source)
    assert isinstance(found, Tensor)
    return found


def grouped(rows: Tensor, groups: int) -> Tensor:
    """Return rows of outputs `(n, out)` by group: `(groups, n, out / groups)`."""
    return rows.reshape(len(rows), groups, -1).transpose(0, 1)


def _passes(net: Net, layers: Collection[Reader], memory: int) -> Iterator[list[Reader]]:
    """Yield the layers in lots whose matrices fit into memory."""
    lot: list[Reader] = []
    used = 0
    for reader in layers:
        groups, _, inputs = reader.matrix(net).shape
        if inputs > LARGEST:
            continue
        size = 16 * groups * inputs**2
        if lot and used + size > memory:
            yield lot
            lot, used = [], 0
        lot, used = [*lot, reader], used + size
    if lot:
        yield lot
