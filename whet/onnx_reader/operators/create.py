"""Rows of the operators that make tensors out of sizes, and of padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import (
    DTYPES,
    UNSIGNED,
    NotRead,
    Value,
    at,
    claim,
    ints,
    numbers,
    numpy_dtype,
    scalar,
    tensor,
    type_name,
)

MOST_KNOWN = 4096
"""Ranges and filled arrays up to this size stay known; larger ones are made where the network runs."""


def dtype_of(code: int) -> torch.dtype:
    """Return torch's type of an element type's number. Raises: NotRead where torch has none."""
    if code not in DTYPES:
        raise NotRead(f"element type {type_name(code)} is not read")
    return DTYPES[code]


def constant_of_shape(call: Call, x: list[Value], a: Attributes) -> Value:
    """One number everywhere, in the shape that the input holds."""
    fill, sizes = a.get("value", np.zeros(1, np.float32)).reshape(-1), ints(x[0])
    claim(sizes)
    if all(isinstance(s, int) for s in sizes) and (math.prod(sizes) <= MOST_KNOWN or fill.dtype.kind not in "biuf"):
        return np.full(sizes, fill[0], dtype=fill.dtype)
    return torch.full(sizes, fill[0].item(), dtype=tensor(fill).dtype)


def range_(call: Call, x: list[Value], a: Attributes) -> Value:
    """From the first number, by steps, to before the last; types of 16 bits are counted in `stash_type`."""
    first, last, step = (numbers(v)[0] for v in x[:3])
    dtype = x[0].dtype
    if all(isinstance(v, int | float) or hasattr(v, "dtype") for v in (first, last, step)):
        first, last, step = ((v if isinstance(v, int) else float(v)) for v in (first, last, step))
        claim([max(0, math.ceil((last - first) / step))])
        stash = numpy_dtype(a["stash_type"]) if "stash_type" in a and dtype.itemsize == 2 else None
        return np.arange(first, last, step, dtype=stash).astype(dtype)
    return torch.arange(first, last, step)


def eye_like(call: Call, x: list[Value], a: Attributes) -> Value:
    """Ones on diagonal `k` of a matrix of the input's shape (rows, columns), zeros elsewhere."""
    rows, columns = (x[0].shape[0], x[0].shape[-1]) if x[0].ndim <= 2 else (None, None)
    if rows is None or columns is None:
        raise call.not_read(f"an input of {x[0].ndim} dimensions")
    claim([rows, columns])
    made = torch.arange(columns)[None, :] == torch.arange(rows)[:, None] + a.get("k", 0)
    return made.to(dtype_of(a["dtype"]) if "dtype" in a else tensor(x[0]).dtype)


def triangle(call: Call, x: list[Value], a: Attributes) -> Value:
    """Trilu: the upper or lower triangle of (..., rows, columns) from a diagonal on, zeros elsewhere."""
    diagonal = int(scalar(x[1])) if at(x, 1) is not None else 0
    run = torch.triu if a.get("upper", 1) else torch.tril
    value = tensor(x[0])
    if value.numel() == 0:
        return value
    # Beyond the edges nothing changes any more, and torch's integers are not endless.
    edge = int(max(value.shape[-2:])) + 1
    return run(value, max(-edge, min(edge, diagonal)))


def one_hot(call: Call, x: list[Value], a: Attributes) -> Value:
    """on where the new axis meets the index (negative ones count from the end), off elsewhere."""
    depth, axis = int(scalar(x[1])), a.get("axis", -1)
    claim([depth, *x[0].shape])
    index = tensor(x[0]).to(torch.int64)
    off, on = tensor(x[2]).unbind(0)
    inside = (index >= -depth) & (index < depth)
    hot = (torch.where(index < 0, index + depth, index)[..., None] == torch.arange(depth)) & inside[..., None]
    return torch.where(hot.movedim(-1, axis), on, off)


# -- padding -------------------------------------------------------------------------------------------------------

MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(call: Call, x: list[Value], a: Attributes) -> Value:
    """Pad: amounts before and after each dimension, or those of `axes`; negative ones crop."""
    value = tensor(x[0])
    amounts = ints(x[1]) if at(x, 1) is not None else list(a.get("pads") or a.get("paddings") or ())
    axes = [int(i) % value.dim() for i in ints(x[3])] if at(x, 3) is not None else list(range(value.dim()))
    if len(amounts) != 2 * len(axes):
        raise call.not_read(f"{len(amounts)} amounts of padding for {len(axes)} dimensions")
    sides = {axis: (amounts[i], amounts[i + len(axes)]) for i, axis in enumerate(axes)}
    claim([s + sum(sides.get(d, (0, 0))) for d, s in enumerate(value.shape)])
    mode = choice(a, "mode", "constant", *MODES)
    if mode == "constant":
        fill = scalar(x[2]) if at(x, 2) is not None else a.get("value", 0.0)
        return filled(value, sides, fill)
    return mirrored(value, sides, mode)


def filled(value: Tensor, sides: dict[int, tuple[Any, Any]], fill: Any) -> Tensor:
    """Pad with a number, or crop where an amount is negative. Shape (sizes plus their padding, ...)."""
    first = min((d for d, side in sides.items() if side != (0, 0)), default=value.dim())
    flat = [n for d in reversed(range(first, value.dim())) for n in sides.get(d, (0, 0))]
    if not flat:
        return value
    if value.dtype == torch.bool or value.dtype in UNSIGNED:
        wider: Tensor = F.pad(value.to(torch.int64), flat, value=int(fill))
        return wider.to(value.dtype)
    result: Tensor = F.pad(value, flat, value=float(fill) if value.is_floating_point() else int(fill))
    return result


def mirrored(value: Tensor, sides: dict[int, tuple[Any, Any]], mode: str) -> Tensor:
    """Pad with the tensor's own elements: reflected, repeated at the edge, or from the other end.

    Shape (sizes plus their padding, ...).
    """
    spatial = value.dim() - 2
    padded = [d for d, side in sides.items() if side != (0, 0)]
    inner = {d: sides.get(d, (0, 0)) for d in range(2, value.dim())}
    small = all(0 <= n < value.shape[d] for d in padded for n in sides[d])
    if value.is_floating_point() and 1 <= spatial <= 3 and min(padded, default=0) >= 2 and small:
        flat = [n for d in reversed(range(2, value.dim())) for n in inner[d]]
        result: Tensor = F.pad(value, flat, mode=MODES[mode])
        return result
    for axis in padded:
        value = value.index_select(axis, torch.from_numpy(_picked(int(value.shape[axis]), *sides[axis], mode)))
    return value


def _picked(count: int, before: int, after: int, mode: str) -> Any:
    """Return which elements stand at the positions of a padded axis."""
    positions = np.arange(-before, count + after)
    if mode == "edge":
        return positions.clip(0, count - 1)
    if mode == "wrap":
        return positions % count
    period = max(2 * (count - 1), 1)
    folded = positions % period
    return np.minimum(folded, period - folded) if count > 1 else np.zeros_like(positions)


def center_crop_pad(call: Call, x: list[Value], a: Attributes) -> Value:
    """The middle of each dimension in the wanted size, zeros where there is not enough."""
    value, wanted = tensor(x[0]), ints(x[1])
    claim(wanted)
    sides: dict[int, tuple[Any, Any]] = {}
    for axis, size in zip(a.get("axes") or range(value.dim()), wanted):
        more = size - value.shape[int(axis)]
        # Of an odd difference the larger half is cut or filled at the end.
        before = more // 2 if more >= 0 else -(-more // 2)
        sides[int(axis) % value.dim()] = (before, more - before)
    return filled(value, sides, 0)


ROWS: Rows = {
    "ConstantOfShape": Row(constant_of_shape, known=(0,)),
    "Range": Row(range_, known=(0, 1, 2)),
    "EyeLike": Row(eye_like),
    "Trilu": Row(triangle, known=(1,)),
    "OneHot": Row(one_hot, known=(1,)),
    "Pad": Row(pad, known=(1, 2, 3)),
    "CenterCropPad": Row(center_crop_pad, known=(1,)),
}
