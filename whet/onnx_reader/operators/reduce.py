"""Rows of the reductions: sums and their kin, extrema, positions of extrema, running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.onnx_reader.operators.elementwise import wide
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import UNSIGNED, Value, at, ints, is_host, scalar, settled, tensor

Reduction = Callable[[Tensor, list[int], bool], Tensor]
Each = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reduce:
    """How a reduction runs over dimensions, what it does to each element where it runs over none, and on the host."""

    run: Reduction
    each: Each = lambda v: v
    on_host: Callable[..., Any] | None = None


def mean(value: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return the mean over dimensions; of integers an integer.

    The shape without `dims`, or with ones in their place.
    """
    if value.is_floating_point():
        return value.mean(dims, keepdim=keep)
    return value.double().mean(dims, keepdim=keep).to(value.dtype)


def product(value: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return the product over dimensions, in the type of the input.

    The shape without `dims`, or with ones in their place.
    """
    for dim in sorted(dims, reverse=True):
        value = value.prod(dim, keepdim=keep, dtype=value.dtype)
    return value


def extremum(run: Callable[..., Tensor], largest: bool) -> Reduction:
    """Return max or min in the shape without the axes; of no elements, the lowest or the highest number there is."""

    def reduce(value: Tensor, dims: list[int], keep: bool) -> Tensor:
        if any(isinstance(value.shape[d], int) and value.shape[d] == 0 for d in dims):
            sizes = [1 if d in dims else s for d, s in enumerate(value.shape) if keep or d not in dims]
            return torch.full(sizes, _extreme(value.dtype, not largest), dtype=value.dtype)
        if value.dtype == torch.bool:
            return run(value.to(torch.uint8), dims, keepdim=keep).bool()
        return run(value, dims, keepdim=keep)

    return reduce


def _extreme(dtype: torch.dtype, largest: bool) -> Any:
    if dtype == torch.bool:
        return largest
    if dtype.is_floating_point:
        return math.inf if largest else -math.inf
    return torch.iinfo(dtype).max if largest else torch.iinfo(dtype).min


def _floating(run: Callable[[Tensor], Tensor]) -> Each:
    """Return a function that computes in floating point and goes back to whole numbers where they came in."""

    def apply(value: Tensor) -> Tensor:
        return run(value) if value.is_floating_point() else run(value.double()).to(value.dtype)

    return apply


def log_sum(value: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return the logarithm of the sum over dimensions. The shape without `dims`, or with ones in their place."""
    return _floating(lambda v: v.sum(dims, keepdim=keep).log())(value)


def log_sum_exp(value: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return log(sum(e^v)) over dimensions. The shape without `dims`, or with ones in their place."""
    return _floating(lambda v: v.logsumexp(dims, keepdim=keep))(value)


def euclidean(value: Tensor, dims: list[int], keep: bool) -> Tensor:
    """Return the square root of the sum of squares over dimensions.

    The shape without `dims`, or with ones in their place.
    """
    return _floating(lambda v: v.square().sum(dims, keepdim=keep).sqrt())(value)


REDUCTIONS: dict[str, Reduce] = {
    "ReduceSum": Reduce(lambda v, d, k: v.sum(d, keepdim=k, dtype=v.dtype), on_host=np.sum),
    "ReduceMean": Reduce(mean),
    "ReduceMax": Reduce(extremum(torch.amax, True), on_host=np.max),
    "ReduceMin": Reduce(extremum(torch.amin, False), on_host=np.min),
    "ReduceProd": Reduce(product, on_host=np.prod),
    "ReduceL1": Reduce(lambda v, d, k: v.abs().sum(d, keepdim=k, dtype=v.dtype), torch.abs),
    "ReduceL2": Reduce(euclidean, torch.abs),
    "ReduceSumSquare": Reduce(lambda v, d, k: v.square().sum(d, keepdim=k, dtype=v.dtype), torch.square),
    "ReduceLogSum": Reduce(log_sum, _floating(torch.log)),
    "ReduceLogSumExp": Reduce(log_sum_exp),
}


def axes_of(x: list[Value], a: Attributes, rank: int) -> list[int] | None:
    """Return the axes of a reduction, None for all; from operator set 13 or 18 on they are an input."""
    given = ints(x[1]) if at(x, 1) is not None else a.get("axes")
    if not given:
        return [] if a.get("noop_with_empty_axes") else None
    return [int(axis) % max(rank, 1) for axis in given]


def reduce(call: Call, x: list[Value], a: Attributes) -> Value:
    """One of `REDUCTIONS` over the stated axes, all by default; `keepdims` leaves sizes of one in their place."""
    row, keep = REDUCTIONS[call.op], bool(a.get("keepdims", 1))
    axes = axes_of(x, a, x[0].ndim)
    if is_host(x[0]) and x[0].dtype.kind in "iO" and x[0].size and row.on_host is not None and axes != []:
        chosen = None if axes is None else tuple(axes)
        found = settled(row.on_host(x[0], axis=chosen, keepdims=keep))
        return found if found.dtype == object else found.astype(np.int64 if x[0].dtype == object else x[0].dtype)
    value = tensor(x[0])
    if axes == []:
        return wide(row.each, value)
    dims = list(range(value.dim())) if axes is None else axes
    if not dims:
        return wide(row.each, value)
    return wide(lambda v: row.run(v, dims, keep), value)


def position(call: Call, x: list[Value], a: Attributes) -> Value:
    """ArgMax and ArgMin: the first, or with `select_last_index` the last, position of the extremum."""
    value, axis, keep = tensor(x[0]), a.get("axis", 0), bool(a.get("keepdims", 1))
    value = value.to(torch.int64) if value.dtype in UNSIGNED else value
    run = torch.argmax if call.op == "ArgMax" else torch.argmin
    if a.get("select_last_index"):
        flipped = run(value.flip(axis), axis, keepdim=keep)
        return value.shape[axis] - 1 - flipped
    return run(value, axis, keepdim=keep)


def running(run: Callable[..., Tensor], neutral: int) -> Row:
    """A running sum or product in the same shape; `exclusive` leaves out each itself, `reverse` is from the end."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        value, axis = tensor(x[0]), int(scalar(x[1]))
        value = value.flip(axis) if a.get("reverse") else value
        if a.get("exclusive"):
            first = torch.full_like(value.narrow(axis, 0, 1), neutral)
            value = torch.cat([first, value.narrow(axis, 0, value.shape[axis] - 1)], axis)
        total = wide(lambda v: run(v, axis, dtype=v.dtype), value)
        return total.flip(axis) if a.get("reverse") else total

    return Row(handler, known=(1,))


ROWS: Rows = {
    **{name: Row(reduce, known=(1,)) for name in REDUCTIONS},
    "ArgMax": Row(position),
    "ArgMin": Row(position),
    "CumSum": running(torch.cumsum, 0),
    "CumProd": running(torch.cumprod, 1),
}
