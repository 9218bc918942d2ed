"""Rows of the poolings over windows, over everything, and over regions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.operators.convolution import CONVOLUTIONS, flat_pads, geometry, pads_of
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, at, claim, ints, numbers, tensor

MAXIMA: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGES: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class Windows:
    """Where the windows lie: `pads` are those that the file states, `ends` hold what `ceil_mode` adds besides."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[Any]
    ends: list[Any]

    @property
    def begins(self) -> list[Any]:
        """The padding before each dimension."""
        return self.pads[: len(self.kernel)]

    @property
    def all_pads(self) -> list[Any]:
        """The padding before each dimension, then after it, with what `ceil_mode` adds."""
        return [*self.begins, *self.ends]

    @property
    def plain(self) -> bool:
        """Say whether torch's own poolings pad like this: the same on both sides, by half a window at most."""
        return self.begins == self.ends and all(0 <= 2 * p <= k for p, k in zip(self.ends, self.kernel))


def windows_of(call: Call, value: Tensor, a: Attributes) -> Windows:
    """Return where the windows lie over the last dimensions of (N, C, ...).

    Raises: NotRead for other than one to three of them; LiftError for padding that no network has.
    """
    kernel = list(a["kernel_shape"])
    n = len(kernel)
    if n not in MAXIMA or value.dim() != n + 2:
        raise call.not_read(f"a pooling over {n} of {value.dim()} dimensions")
    (strides, dilations), sizes = geometry(a, kernel), list(value.shape[2:])
    pads = pads_of(a, sizes, kernel)
    ends = list(pads[n:])
    for i in range(n if a.get("ceil_mode") else 0):
        window, whole = (kernel[i] - 1) * dilations[i] + 1, sizes[i] + pads[i] + pads[n + i]
        count = -(-(whole - window) // strides[i]) + 1
        if (count - 1) * strides[i] >= sizes[i] + pads[i]:
            count -= 1  # the last window would lie in the padding alone
        if count == 1 and dilations[i] == 1:
            kernel[i] = min(window, whole)  # a window over everything, however large the file has it
            continue
        ends[i] += max(0, (count - 1) * strides[i] + window - whole)
    claim([s + pads[i] + ends[i] for i, s in enumerate(sizes)])
    return Windows(kernel, strides, dilations, pads, ends)


def lowest(value: Tensor) -> Any:
    """Return the lowest number of a tensor's type, which no maximum is below: a scalar."""
    return -math.inf if value.is_floating_point() else torch.iinfo(value.dtype).min


def max_pool(call: Call, x: list[Value], a: Attributes) -> Value:
    """MaxPool: (N, C, ...) to the maxima of windows, and where in the flattened input each lay."""
    value = tensor(x[0])
    w = windows_of(call, value, a)
    run = MAXIMA[len(w.kernel)]
    plain = value if value.is_floating_point() else value.to(torch.float64)
    if call.outputs > 1:
        found, places = _with_places(plain, w, run, bool(a.get("storage_order")))
        return found.to(value.dtype), places
    if w.plain:
        return run(plain, w.kernel, w.strides, w.ends, w.dilations).to(value.dtype)
    padded = F.pad(plain, flat_pads(w.all_pads), value=lowest(plain))
    return run(padded, w.kernel, w.strides, 0, w.dilations).to(value.dtype)


def _with_places(value: Tensor, w: Windows, run: Callable[..., Any], columns_first: bool) -> tuple[Tensor, Tensor]:
    """Return the maxima and where each lies in the flattened input."""
    spatial = list(value.shape[2:])
    order = torch.arange(math.prod(value.shape), dtype=torch.int64)
    if columns_first:
        turned = order.reshape(*value.shape[:2], *reversed(spatial))
        order = turned.permute(0, 1, *reversed(range(2, value.dim())))
    order = order.reshape(value.shape)
    flat = flat_pads(w.all_pads)
    found, where = run(
        F.pad(value, flat, value=lowest(value)), w.kernel, w.strides, 0, w.dilations, return_indices=True
    )
    places = F.pad(order, flat, value=-1).flatten(2)
    return found, places.gather(2, where.flatten(2)).reshape(found.shape)


def window_sum(value: Tensor, w: Windows) -> Tensor:
    """Return sums over windows, as a convolution of each channel with ones.

    Shape (N, C, ...) to (N, C, windows along each dimension).
    """
    ones = torch.ones([1, 1, *w.kernel], dtype=value.dtype)
    flat = value.reshape(value.shape[0] * value.shape[1], 1, *value.shape[2:])
    out = CONVOLUTIONS[len(w.kernel)](flat, ones, None, w.strides, 0, w.dilations)
    return out.reshape(value.shape[0], value.shape[1], *out.shape[2:])


def average_pool(call: Call, x: list[Value], a: Attributes) -> Value:
    """AveragePool: the means of windows; padding counts where `count_include_pad` says so."""
    value = tensor(x[0])
    w, include = windows_of(call, value, a), bool(a.get("count_include_pad", 0))
    if w.plain and w.pads[len(w.kernel) :] == w.ends and all(d == 1 for d in w.dilations):
        return AVERAGES[len(w.kernel)](value, w.kernel, w.strides, w.ends, False, include)
    return window_sum(F.pad(value, flat_pads(w.all_pads)), w) / _counted(value, w, include)


def _counted(value: Tensor, w: Windows, include: bool) -> Tensor:
    """Return how many elements of each window count: padding does or not, what `ceil_mode` adds never does."""
    ones = torch.ones([1, 1, *value.shape[2:]], dtype=value.dtype)
    n = len(w.kernel)
    if include:
        ones = F.pad(ones, flat_pads(w.pads), value=1.0)
        ones = F.pad(ones, flat_pads([0] * n + [e - p for e, p in zip(w.ends, w.pads[n:])]))
    else:
        ones = F.pad(ones, flat_pads(w.all_pads))
    return window_sum(ones, w)


def norm_pool(call: Call, x: list[Value], a: Attributes) -> Value:
    """LpPool: the p-norms of windows."""
    value, p = tensor(x[0]), a.get("p", 2)
    w = windows_of(call, value, a)
    return window_sum(F.pad(value.abs() ** p, flat_pads(w.all_pads)), w) ** (1.0 / p)


def over_all(run: Callable[[Tensor, list[int]], Tensor]) -> Row:
    """Reduce all dimensions after the channels of `(n, channels, ...)`; there may be none."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        value = tensor(x[0])
        return run(value, list(range(2, value.dim()))) if value.dim() > 2 else value

    return Row(handler)


def global_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """GlobalLpPool: (N, C, ...) to the p-norm of each channel, (N, C, 1, ...)."""
    value, p = tensor(x[0]), a.get("p", 2)
    return (value.abs() ** p).sum(list(range(2, value.dim())), keepdim=True) ** (1.0 / p)


def max_unpool(call: Call, x: list[Value], a: Attributes) -> Value:
    """Put each maximum back where it was, zeros elsewhere; places count in the pooling's own input."""
    value, places, kernel = tensor(x[0]), tensor(x[1]), list(a["kernel_shape"])
    n, (strides, _) = len(kernel), geometry(a, kernel)
    pads = list(a.get("pads") or [0] * 2 * n)
    sizes = [(s - 1) * strides[i] - pads[i] - pads[n + i] + kernel[i] for i, s in enumerate(value.shape[2:])]
    claim([*value.shape[:2], *sizes])
    whole = math.prod(sizes)
    local = torch.remainder(places, whole).reshape(value.shape[0], value.shape[1], -1)
    empty = torch.zeros(value.shape[0], value.shape[1], whole, dtype=value.dtype)
    out = empty.scatter(2, local, value.flatten(2)).reshape(*value.shape[:2], *sizes)
    if at(x, 2) is None:
        return out
    wanted = ints(x[2])
    claim(wanted)
    return F.pad(out, flat_pads([0] * n + [wanted[2 + i] - s for i, s in enumerate(sizes)]))


def max_roi_pool(call: Call, x: list[Value], a: Attributes) -> Value:
    """The maxima over a grid of cells in each region (image, left, top, right, bottom), edges rounded to pixels."""
    value, (height, width), scale = tensor(x[0]), a["pooled_shape"], a.get("spatial_scale", 1.0)
    claim([x[1].shape[0], value.shape[1], height, width])
    rows = []
    for image, *edges in _regions(x[1]):
        left, top, right, bottom = (math.floor(edge * scale + 0.5) for edge in edges)
        across, down = max(right - left + 1, 1), max(bottom - top + 1, 1)
        cells = []
        for i in range(height):
            for j in range(width):
                y = _cell(top, i, down / height, value.shape[2])
                z = _cell(left, j, across / width, value.shape[3])
                picked = value[int(image), :, y, z]
                cells.append(picked.amax((1, 2)) if picked.numel() else torch.zeros_like(value[0, :, 0, 0]))
        rows.append(torch.stack(cells, -1).reshape(value.shape[1], height, width))
    return torch.stack(rows)


def _regions(value: Value) -> Sequence[list[float]]:
    flat = numbers(value)
    return [flat[i : i + 5] for i in range(0, len(flat), 5)]


def _cell(start: int, index: int, step: float, size: int) -> slice:
    first, last = start + math.floor(index * step), start + math.ceil((index + 1) * step)
    return slice(min(max(first, 0), size), min(max(last, 0), size))


ROWS: Rows = {
    "MaxPool": Row(max_pool),
    "AveragePool": Row(average_pool),
    "LpPool": Row(norm_pool),
    "GlobalAveragePool": over_all(lambda v, d: v.mean(d, keepdim=True)),
    "GlobalMaxPool": over_all(lambda v, d: v.amax(d, keepdim=True)),
    "GlobalLpPool": Row(global_norm),
    "MaxUnpool": Row(max_unpool, known=(2,)),
    "MaxRoiPool": Row(max_roi_pool, known=(1,)),
}
