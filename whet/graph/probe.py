"""What a source gives for one, two and three rows: where its batch lies, and whether its rows are independent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import LiftError, unknown
from whet.graph.calls import Flat, outputs_of
from whet.graph.float32 import Float32

Axis = int | None
Axes = tuple[Axis, ...]
Rows = tuple[int, ...]

INDEPENDENT = 2e-4
"""How far the rows of a batch may lie from the same rows elsewhere, relative to the largest number: rounding alone."""

FOLDED = -1
"""Stands for the axis of an output that has several entries a row in dimension 0, those of a row together."""

SUGGESTIONS = 48
SCALE = 1e-12


class RowsError(LiftError):
    """Rows of a batch cannot be told from one another along the axes that were tried."""


@dataclass(frozen=True)
class Source:
    """A network with example inputs, that can be run on flat tensors."""

    module: nn.Module
    inputs: Flat
    mode: Float32 | None = None

    @torch.no_grad()
    def __call__(self, tensors: Sequence[Tensor]) -> Flat:
        """Return the outputs for `tensors`, which stay as they are whatever forward does to them."""
        with self.mode or nullcontext():
            return outputs_of(self.inputs.call(self.module, [t.clone() for t in tensors]))


@dataclass(frozen=True)
class Probe:
    """Runs of a source: for each choice of rows the inputs and the outputs, in the layout outside."""

    inputs: Axes
    outputs: Axes
    runs: dict[Rows, tuple[tuple[Tensor, ...], Flat]] = field(repr=False)

    @property
    def whole(self) -> Flat:
        """The outputs of the run with the most rows."""
        return self.runs[max(self.runs, key=len)][1]


def probe(source: Source, axes: Axes, outputs: Axes | None, fixed: int | None = None, check: bool = True) -> Probe:
    """Run a source on rows of its example along `axes`, and find the batch of its outputs where it is not given.

    `fixed` is the only batch that it takes, if there is such. Raises: RowsError where the rows are no batch.
    """
    most = fixed or 3
    pool = _pool(source.inputs.tensors, axes, most)
    all_rows: Rows = tuple(range(most))
    probe = Probe(axes, (), {})

    def run(rows: Rows) -> Flat:
        given = tuple(_select(value, axis, rows) for value, axis in zip(pool, axes, strict=True))
        try:
            probe.runs[rows] = given, source(given)
        except LiftError:
            raise
        except Exception as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise RowsError(f"it does not run with a batch of {len(rows)}: {first}") from error
        return probe.runs[rows][1]

    whole = run(all_rows)
    fewer = whole if fixed else run((0, 1))
    _check_literals(whole, fewer)
    found = outputs or tuple(
        _axis(name, a, b, most if fixed else 0)
        for name, a, b in zip(whole.names, fewer.tensors, whole.tensors, strict=True)
    )
    if len(found) != len(whole.names):
        raise LiftError(f"batch_axis names {len(found)} outputs; there are {len(whole.names)}: {list(whole.names)}.")
    probe = Probe(axes, found, probe.runs)
    if check:
        _check_numbers(whole, run(all_rows))
        turned = (*all_rows[1:], 0)
        for rows in [turned] if fixed else [turned, (1,)]:
            _check_rows(probe, whole, run(rows), rows)
        del probe.runs[turned]
    return probe


def _axis(name: str, fewer: Tensor, more: Tensor, fixed: int) -> Axis:
    """Return where the batch lies in an output of 2 rows and of 3, or of `fixed` rows; None if nowhere."""
    if fixed:
        return next((d for d, size in enumerate(more.shape) if size == fixed), None)
    if fewer.dim() != more.dim():
        raise LiftError(f"output '{name}' has {fewer.dim()} dimensions for a batch of 2 and {more.dim()} for 3.")
    grown = [d for d in range(more.dim()) if fewer.shape[d] != more.shape[d]]
    if grown == [0] and fewer.shape[0] > 2 and 3 * fewer.shape[0] == 2 * more.shape[0]:
        return FOLDED
    whole = [d for d in grown if (fewer.shape[d], more.shape[d]) == (2, 3)]
    if grown and not whole:
        a, b = tuple(fewer.shape), tuple(more.shape)
        raise RowsError(
            f"output '{name}' has the shape {a} for a batch of 2 and {b} for 3, so that none of its dimensions is the "
            "batch: let the network keep the batch as a dimension of its own"
        )
    return whole[0] if whole else None


def _check_literals(a: Flat, b: Flat) -> None:
    for one, other in zip(a.leaves, b.leaves, strict=True):
        if not isinstance(one, Tensor) and one != other:
            raise LiftError(
                f"the network returns a number that depends on the batch ({one} for one, {other} for another): return "
                "tensors, or leave it out."
            )


def _check_numbers(first: Flat, second: Flat) -> None:
    for name, a, b in zip(first.names, first.tensors, second.tensors, strict=True):
        if a.is_floating_point() and a.numel() and bool(a.isnan().all()):
            raise LiftError(
                f"output '{name}' is NaN throughout on the example: nothing can be compared. Give example inputs as "
                "the data has them, and look for NaN in the weights."
            )
        if apart(a, b) > 0:
            raise LiftError(
                f"output '{name}' differs between two runs on the same input: the network draws random numbers or "
                "keeps a state between calls. Give noise or state as an input (and a new state as an output)."
            )


def _check_rows(probe: Probe, whole: Flat, found: Flat, rows: Rows) -> None:
    count = len(max(probe.runs, key=len))
    for name, axis, a, b in zip(whole.names, probe.outputs, whole.tensors, found.tensors, strict=True):
        difference = apart(b, _select(a, axis, rows, count))
        if difference > INDEPENDENT and axis is None:
            raise RowsError(
                f"output '{name}' has no batch but changes with the rows of the batch (by {difference:.1e}): let the "
                "network return a number for each row, or leave this output out"
            )
        if difference > INDEPENDENT:
            how = "alone" if len(rows) == 1 else "in another order"
            raise RowsError(f"output '{name}' of a row differs by {difference:.1e} when the rows come {how}")


def apart(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference relative to the largest number, the share that differs for whole numbers.

    Infinite where shapes or types differ, or what is not finite.

    >>> apart(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])), apart(torch.ones(2), torch.ones(3))
    (0.5, inf)
    """
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    if found.numel() == 0:
        return 0.0
    if not (found.is_floating_point() or found.is_complex()):
        return float((found != wanted).double().mean())
    finite = wanted.isfinite()
    rest = found.isnan() == wanted.isnan(), (found == wanted) | wanted.isnan() | finite
    if not bool(rest[0].all() and rest[1].all() and found[finite].isfinite().all()):
        return float("inf")
    if not bool(finite.any()):
        return 0.0
    return float((found[finite] - wanted[finite]).abs().max()) / max(float(wanted[finite].abs().max()), SCALE)


# -- rows ----------------------------------------------------------------------------------------------------------


def _select(value: Tensor, axis: Axis, rows: Rows, count: int = 0) -> Tensor:
    """Return rows of a tensor; `count` is how many it has, for an axis that is folded."""
    if axis is None:
        return value
    places = torch.tensor(rows, device=value.device)
    if axis == FOLDED and count:
        return value.reshape(count, -1, *value.shape[1:]).index_select(0, places).flatten(0, 1)
    return value.index_select(axis, places)


def _pool(values: Sequence[Tensor], axes: Axes, count: int) -> list[Tensor]:
    """Return inputs of `count` rows that differ: those of the example, then the same numbers in another order."""
    generator = torch.Generator().manual_seed(0)
    return [v if a is None else _varied(v, a, count, generator) for v, a in zip(values, axes, strict=True)]


def _varied(value: Tensor, axis: int, count: int, generator: torch.Generator) -> Tensor:
    others = [d for d in range(value.dim()) if d != axis]
    rows = value.narrow(axis, 0, min(count, value.shape[axis]))
    while rows.shape[axis] < count:
        rows = torch.cat([rows, rows.flip(others).roll(1, others[-1]) if others else rows], axis)
    rows = rows.narrow(axis, 0, count)
    if rows.is_floating_point() and rows.numel() > count and bool((rows == rows.flatten()[0]).all()):
        return rows + torch.rand(rows.shape, generator=generator)  # an example of zeros or ones tells nothing
    return rows


# -- axes ----------------------------------------------------------------------------------------------------------


def asked(batch_axis: Any, inputs: Flat, known: Axes) -> tuple[Axes, Axes | None]:
    """Return the batch axes of inputs and, where they are given, of outputs; `known` are those of nothing given.

    Raises: LiftError for axes that the inputs do not have.
    """
    outputs: Axes | None = None
    if isinstance(batch_axis, tuple) and len(batch_axis) == 2 and any(isinstance(a, tuple | list) for a in batch_axis):
        batch_axis, given = batch_axis
        outputs = tuple(given) if isinstance(given, tuple | list) else (given,)
    axes = _asked_axes(batch_axis, inputs, known)
    sizes: dict[int, list[str]] = {}
    for i, (name, value, axis) in enumerate(zip(inputs.names, inputs.tensors, axes, strict=True)):
        if axis is None:
            continue
        if isinstance(axis, bool) or not isinstance(axis, int) or not -value.dim() <= axis < value.dim():
            raise LiftError(f"batch_axis of input '{name}' is {axis!r}; its shape is {tuple(value.shape)}.")
        axes = (*axes[:i], axis % value.dim(), *axes[i + 1 :])
        sizes.setdefault(value.shape[axis], []).append(name)
    if not sizes:
        raise LiftError("no input has a batch; give batch_axis, one number or one for each input.")
    if len(sizes) > 1:
        told = "; ".join(f"{size} in {', '.join(names)}" for size, names in sorted(sizes.items()))
        raise RowsError(f"all inputs must have the same batch, which is None where an input has none; got {told}")
    return axes, outputs


def _asked_axes(batch_axis: Any, inputs: Flat, known: Axes) -> Axes:
    if batch_axis is None:
        return known
    if isinstance(batch_axis, Mapping):
        for name in batch_axis:
            if name not in inputs.names:
                raise unknown("input", str(name), inputs.names)
        return tuple(batch_axis.get(name, axis) for name, axis in zip(inputs.names, known, strict=True))
    if isinstance(batch_axis, tuple | list):
        if len(batch_axis) != len(inputs.names):
            raise LiftError(
                f"batch_axis has {len(batch_axis)} entries; there are {len(inputs.names)} inputs: {list(inputs.names)}."
            )
        return tuple(batch_axis)
    return tuple(batch_axis if value.dim() else None for value in inputs.tensors)


def suggestion(source: Source, tried: Axes) -> str:
    """Return what to do where the rows along `tried` are no batch: the axes along which they are, if there are any."""
    for axes in islice(_others(source.inputs.tensors, tried), SUGGESTIONS):
        try:
            probe(source, axes, None)
        except LiftError:
            continue
        names = source.inputs.names
        where = [f"dimension {a} of input '{n}'" for n, a in zip(names, axes, strict=True) if a is not None]
        value = axes[0] if len(set(axes)) == 1 else axes
        return f"The batch seems to lie in {' and '.join(where)}: give batch_axis={value}."
    return (
        "Rows of a batch must not depend on each other: where the batch lies elsewhere, give batch_axis (one number, "
        "or one an input); where rows belong together (frames of a clip), give them a dimension of their own."
    )


def _others(values: Sequence[Tensor], tried: Axes) -> Iterator[Axes]:
    """Yield other axes along which all inputs have the same length, the same axis for all first."""
    options = [[d for d in range(min(v.dim(), 4)) if v.shape[d] > 1] + [None] for v in values]
    every = list(islice(product(*options), 4096))
    every.sort(key=lambda axes: (len(set(axes)), sum(a is None for a in axes)))
    for axes in every:
        sizes = {v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None}
        if axes != tried and len(sizes) == 1:
            yield axes
