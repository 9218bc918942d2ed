"""Rows of the operators that pick elements: slices, gathers, sorting, positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import UNSIGNED, Array, Value, at, ints, is_host, is_symbolic, scalar, settled, tensor

FAR = 1 << 30
"""Bounds of slices beyond this mean the end."""


def slice_(call: Call, x: list[Value], a: Attributes) -> Value:
    """Slice: from starts to before ends by steps; bounds are inputs, before operator set 10 attributes."""
    value = x[0]
    if len(x) > 1:
        starts, ends = ints(x[1]), ints(x[2])
        axes = ints(x[3]) if at(x, 3) is not None else list(range(len(starts)))
        steps = ints(x[4]) if at(x, 4) is not None else [1] * len(starts)
    else:
        starts, ends = list(a["starts"]), list(a["ends"])
        axes, steps = list(a.get("axes") or range(len(starts))), [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        value = sliced(value, int(axis) % value.ndim, start, end, int(step))
    return value


def sliced(value: Value, axis: int, start: Any, end: Any, step: int) -> Value:
    """Return a slice along one axis; a negative step picks element by element, which torch's slices cannot."""
    before = (slice(None),) * axis
    low = isinstance(end, int) and step < 0 and end < -FAR
    if isinstance(value, np.ndarray) and not is_symbolic(value) and torch.SymInt in (type(start), type(end)):
        value = tensor(value)  # numpy would take the example's size for the only one
    if isinstance(value, np.ndarray):
        return settled(value[(*before, slice(start, None if low else end, step))])
    if step > 0:
        far = isinstance(end, int) and end > FAR
        return value[(*before, slice(start, None if far else end, step))]
    count = int(value.shape[axis])
    picked = range(count)[slice(start, None if low else end, step)]
    return value.index_select(axis, torch.tensor(list(picked), dtype=torch.int64))


# -- gathers -------------------------------------------------------------------------------------------------------


def wrapped(index: Value, size: Any) -> Tensor:
    """Return indices as a tensor of int64, negative ones counted from the end. Of the shape of the indices."""
    if is_host(index) and index.dtype != object:
        known: Array = np.where(index < 0, index + size, index) if (index < 0).any() else index
        return tensor(known.astype(np.int64))
    data = tensor(index).to(torch.int64)
    return torch.where(data < 0, data + size, data)


def gather(call: Call, x: list[Value], a: Attributes) -> Value:
    """Gather: elements or slices of dimension `axis` at the indices, whose shape takes its place."""
    axis, value, index = a.get("axis", 0), x[0], x[1]
    if call.layer is not None:
        return call.layer(tensor(index))
    if is_host(value) and is_host(index) and index.dtype != object:
        return settled(np.take(value, index.astype(np.int64), axis))
    data = tensor(value)
    axis = axis % data.dim()
    if is_host(index) and index.dtype != object and index.ndim == 0:
        return data.select(axis, int(index))
    if is_host(index) and index.dtype != object and index.ndim == 1:
        return _picked(data, axis, index.astype(np.int64))
    place = wrapped(index, data.shape[axis])
    flat = data.index_select(axis, place.reshape(-1))
    return flat.reshape(*data.shape[:axis], *place.shape, *data.shape[axis + 1 :])


def _picked(data: Tensor, axis: int, index: Array) -> Tensor:
    """Return elements at known positions: a slice where they follow each other."""
    if len(index) and index[0] >= 0 and (np.diff(index) == 1).all():
        return data.narrow(axis, int(index[0]), len(index))
    return data.index_select(axis, wrapped(index, data.shape[axis]))


def gather_elements(call: Call, x: list[Value], a: Attributes) -> Value:
    """GatherElements: out[i][j] = data[index[i][j]][j] for axis 0, of the shape of the indices."""
    data, axis = tensor(x[0]), a.get("axis", 0)
    return torch.gather(data, axis, wrapped(x[1], data.shape[axis]))


def gather_nd(call: Call, x: list[Value], a: Attributes) -> Value:
    """Index the dimensions after the first `batch_dims` by the last dimension of the indices."""
    data, index, batch = tensor(x[0]), tensor(x[1]).to(torch.int64), a.get("batch_dims", 0)
    places: list[Tensor] = []
    for d in range(batch):
        shape = [1] * (index.dim() - 1)
        shape[d] = index.shape[d]
        places.append(torch.arange(index.shape[d]).reshape(shape))
    parts = index.unbind(-1)
    places.extend(torch.where(p < 0, p + data.shape[batch + i], p) for i, p in enumerate(parts))
    return data[tuple(places)]


# -- sorting and searching -----------------------------------------------------------------------------------------


def top_k(call: Call, x: list[Value], a: Attributes) -> Value:
    """The k largest or smallest; of equal ones those that come first, which torch's own topk does not promise."""
    k = int(scalar(x[1])) if at(x, 1) is not None else int(a["k"])
    axis, largest = a.get("axis", -1), bool(a.get("largest", 1))
    data = tensor(x[0])
    plain = data.to(torch.int64) if data.dtype in UNSIGNED else data
    found, places = torch.sort(plain, dim=axis, descending=largest, stable=True)
    return found.narrow(axis, 0, k).to(data.dtype), places.narrow(axis, 0, k)


def non_zero(call: Call, x: list[Value], a: Attributes) -> Value:
    """NonZero: places (rank, count) of what is not zero, in row-major order."""
    if is_host(x[0]):
        known = np.atleast_1d(x[0])
        return np.stack(np.nonzero(known)).astype(np.int64)
    return tensor(x[0]).nonzero().T


def compress(call: Call, x: list[Value], a: Attributes) -> Value:
    """Keep the elements, or the slices along `axis`, at which the condition holds."""
    data = tensor(x[0])
    kept = tensor(np.flatnonzero(x[1])) if is_host(x[1]) else tensor(x[1]).nonzero().flatten()
    return data.flatten().index_select(0, kept) if "axis" not in a else data.index_select(a["axis"], kept)


def unique(call: Call, x: list[Value], a: Attributes) -> Value:
    """Distinct values, or slices along `axis`; where each comes first, where each element went, how many there are."""
    if not is_host(x[0]):
        raise call.not_read("the distinct values of data, whose number depends on them,")
    axis = a.get("axis")
    values, first, inverse, counts = np.unique(x[0], True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not a.get("sorted", 1):
        order = np.argsort(first)
        values = np.take(values, order, axis=0 if axis is None else axis)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


def reverse_sequence(call: Call, x: list[Value], a: Attributes) -> Value:
    """Turn around the first elements of each sequence, as many as its length says."""
    data, lengths = tensor(x[0]), tensor(x[1]).to(torch.int64)
    time, batch = a.get("time_axis", 0), a.get("batch_axis", 1)
    moved = data.movedim((batch, time), (0, 1))
    steps = torch.arange(moved.shape[1])[None, :]
    places = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    places = places.reshape(*places.shape, *[1] * (moved.dim() - 2)).expand(moved.shape)
    return torch.gather(moved, 1, places).movedim((0, 1), (batch, time))


# -- writing -------------------------------------------------------------------------------------------------------

REDUCED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(call: Call, x: list[Value], a: Attributes) -> Value:
    """ScatterElements: updates written, or reduced into, the places that indices of their shape name along `axis`."""
    data, updates, axis = tensor(x[0]), tensor(x[2]), a.get("axis", 0)
    places, how = wrapped(x[1], data.shape[axis]), choice(a, "reduction", "none", *REDUCED)
    if how == "none":
        return data.scatter(axis, places, updates)
    return data.scatter_reduce(axis, places, updates, REDUCED[how], include_self=True)


def scatter_nd(call: Call, x: list[Value], a: Attributes) -> Value:
    """Write slices at the places that the last dimension of the indices names."""
    data, updates, how = tensor(x[0]), tensor(x[2]), choice(a, "reduction", "none", *REDUCED)
    index = tensor(x[1]).to(torch.int64)
    width = index.shape[-1]
    parts = [torch.where(p < 0, p + data.shape[i], p) for i, p in enumerate(index.unbind(-1))]
    if how == "none":
        return data.index_put(tuple(parts), updates)
    inner = math.prod(data.shape[width:])
    row = torch.zeros((), dtype=torch.int64)
    for part, size in zip(parts, data.shape):
        row = row * size + part
    places = row.reshape(-1, 1).expand(-1, inner)
    flat = data.reshape(-1, inner)
    return flat.scatter_reduce(0, places, updates.reshape(-1, inner), REDUCED[how]).reshape(data.shape)


def tensor_scatter(call: Call, x: list[Value], a: Attributes) -> Value:
    """Write a run of updates into a cache along `axis`, each example from its own place on; `circular` wraps."""
    data, updates = tensor(x[0]), tensor(x[1])
    axis = a.get("axis", -2) % data.dim()
    size, count = data.shape[axis], updates.shape[axis]
    start = tensor(x[2]).to(torch.int64) if at(x, 2) is not None else torch.zeros(data.shape[0], dtype=torch.int64)
    places = start[:, None] + torch.arange(count)
    if choice(a, "mode", "linear", "circular") == "circular":
        places = places % size
    shape = [1] * data.dim()
    shape[0], shape[axis] = places.shape
    return data.scatter(axis, places.reshape(shape).expand(updates.shape), updates)


ROWS: Rows = {
    "Slice": Row(slice_, known=(1, 2, 3, 4)),
    "Gather": Row(gather),
    "GatherElements": Row(gather_elements),
    "GatherND": Row(gather_nd),
    "TopK": Row(top_k, known=(1,)),
    "NonZero": Row(non_zero),
    "Compress": Row(compress, known=(1,)),
    "Unique": Row(unique),
    "ReverseSequence": Row(reverse_sequence),
    "ScatterElements": Row(scatter_elements),
    "Scatter": Row(scatter_elements),
    "ScatterND": Row(scatter_nd),
    "TensorScatter": Row(tensor_scatter),
}
