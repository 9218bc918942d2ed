"""Rows of Resize and Upsample: every mode of the standard, one axis after the other.

Along an axis a resize is a matrix product with at most a few entries a row. Where torch's own interpolation computes
the same, which is seen from that matrix, torch's is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Array, Value, at, claim, ints, is_host, numbers, tensor

POLICIES = ("stretch", "not_larger", "not_smaller")


@dataclass(frozen=True)
class Axis:
    """One axis to resize: from `count` to `wanted` elements by `scale`, of the region `first` to `last` (0 to 1)."""

    axis: int
    count: int
    wanted: int
    scale: float
    first: float = 0.0
    last: float = 1.0


def resize(call: Call, x: list[Value], a: Attributes) -> Value:
    """Resize and Upsample: each axis to the stated scale or size."""
    value = tensor(x[0])
    if call.op == "Upsample" or call.opset < 11:
        scales, sizes, region = at(x, 1), None, None
        scales = np.array(a["scales"], np.float32) if scales is None else scales
        a = {**a, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        region, scales, sizes = at(x, 1), at(x, 2), at(x, 3)
    if a.get("mode", "nearest") == "bilinear":
        a = {**a, "mode": "linear"}
    _check(a)
    axes = _axes(call, value, scales, sizes, region, a)
    claim([next((p.wanted for p in axes if p.axis == d), s) for d, s in enumerate(value.shape)])
    quick = _by_torch(value, axes, a) if value.is_floating_point() else None
    if quick is not None:
        return quick
    for part in axes:
        int(value.shape[part.axis])  # a traced graph is told that its matrix is for this length alone
    whole = not value.is_floating_point()
    out = value.to(torch.float64) if whole else value
    for part in axes:
        out = _along(call, out, part, a)
    if not whole:
        return out
    info = torch.iinfo(value.dtype)
    return torch.round(out).clamp(info.min, info.max).to(value.dtype)


def _check(a: Attributes) -> None:
    """Raise `NotRead` for a mode that is not in the standard."""
    choice(a, "mode", "nearest", "linear", "cubic")
    choice(a, "coordinate_transformation_mode", *COORDINATES)
    choice(a, "nearest_mode", *NEAREST)
    choice(a, "keep_aspect_ratio_policy", *POLICIES)


def _axes(call: Call, value: Tensor, scales: Value, sizes: Value, region: Value, a: Attributes) -> list[Axis]:
    """Return the axes that change."""
    chosen = [int(i) % value.dim() for i in a.get("axes") or range(value.dim())]
    n = len(chosen)
    crops = a.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    edges = [float(v) for v in numbers(region)] if crops and region is not None else []
    edges = edges if len(edges) == 2 * n else [0.0] * n + [1.0] * n
    absent = scales is None or (is_host(scales) and scales.size == 0)
    given = [] if absent else [float(v) for v in numbers(scales)]
    wanted = ints(sizes) if sizes is not None else []
    wanted = [value.shape[0] if d == 0 and w == call.batch else w for d, w in zip(chosen, wanted)]
    if len(given or wanted) != n:
        raise call.not_read(f"{len(given)} scales and {len(wanted)} sizes for {n} axes")
    if not given:
        given, wanted = _from_sizes([value.shape[d] for d in chosen], wanted, a)
    else:
        sized = zip(given, (value.shape[d] for d in chosen))
        wanted = [size if scale == 1.0 else math.floor(_length(size, scale) * scale) for scale, size in sized]
    found = []
    for i, d in enumerate(chosen):
        whole = not crops or (edges[i], edges[n + i]) == (0.0, 1.0)
        if given[i] != 1.0 or not whole:
            found.append(Axis(d, _length(value.shape[d], given[i]), int(wanted[i]), given[i], edges[i], edges[n + i]))
    return found


def _length(size: Any, scale: float) -> int:
    """Return the length of an axis, that of the example where it is free and a whole scale leaves it free."""
    return int(size.node.hint) if not isinstance(size, int) and scale.is_integer() else int(size)


def _from_sizes(have: list[Any], wanted: list[Any], a: Attributes) -> tuple[list[float], list[Any]]:
    """Return the scales that sizes mean, and the sizes: the same scale for all where the aspect ratio is kept."""
    policy = a.get("keep_aspect_ratio_policy", "stretch")
    same = [isinstance(h, int) is isinstance(w, int) and bool(h == w) for h, w in zip(have, wanted)]
    scales = [1.0 if s else float(w) / float(h) for s, h, w in zip(same, have, wanted)]
    if policy == "stretch":
        return scales, wanted
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [scale] * len(have), [int(scale * int(h) + 0.5) for h in have]


# -- torch's own ---------------------------------------------------------------------------------------------------


def _by_torch(value: Tensor, axes: list[Axis], a: Attributes) -> Tensor | None:
    """Return what torch's interpolation gives where it is the same, else None."""
    spatial, mode = value.dim() - 2, a.get("mode", "nearest")
    spread = {p.axis: p for p in axes}
    if not axes or spatial not in (1, 2, 3) or min(spread) < 2 or a.get("antialias"):
        return None
    sizes = [_size(value.shape[d], spread.get(d)) for d in range(2, value.dim())]
    if mode == "nearest":
        own = all((_taps(p, a)[0][:, 0] == _nearest_of_torch(p)).all() and not _outside(p, a).any() for p in axes)
        return F.interpolate(value, sizes, mode="nearest") if own else None
    names = {"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}, "cubic": {2: "bicubic"}}
    name = names.get(mode, {}).get(spatial)
    how = a.get("coordinate_transformation_mode", "half_pixel")
    aligned = how == "align_corners"
    exact = all(abs(p.wanted - p.count * p.scale) < 1e-6 for p in axes) and (aligned or all(p.wanted > 1 for p in axes))
    usual = a.get("cubic_coeff_a", -0.75) == -0.75 and not a.get("exclude_outside")
    if name is None or not exact or not usual or how not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    found: Tensor = F.interpolate(value, sizes, mode=name, align_corners=aligned)
    return found


def _size(size: Any, part: Axis | None) -> Any:
    """Return what becomes of a length; a free one stays free where its scale is whole."""
    if part is None:
        return size
    return part.wanted if isinstance(size, int) or not part.scale.is_integer() else size * int(part.scale)


def _nearest_of_torch(p: Axis) -> Array:
    """Return which elements torch picks: floor(i x count / wanted), in float32."""
    step = np.float32(p.count) / np.float32(p.wanted)
    places = np.floor(np.arange(p.wanted, dtype=np.float32) * step).astype(np.int64)
    found: Array = np.minimum(places, p.count - 1)
    return found


# -- as the standard says ------------------------------------------------------------------------------------------


def _along(call: Call, value: Tensor, p: Axis, a: Attributes) -> Tensor:
    """Resize one axis: pick each window's elements and sum them by their weights."""
    if p.wanted == 0:
        return value.narrow(p.axis, 0, 0)
    places, weights = _taps(p, a)
    outside = _outside(p, a)
    if places.shape[1] == 1:
        out = value.index_select(p.axis, torch.from_numpy(places[:, 0]))
    else:
        claim([p.wanted, p.count])
        matrix = np.zeros((p.wanted, p.count))
        for column in range(places.shape[1]):
            np.add.at(matrix, (np.arange(p.wanted), places[:, column]), weights[:, column])
        out = torch.matmul(value.movedim(p.axis, -1), torch.from_numpy(matrix.T).to(value.dtype)).movedim(-1, p.axis)
    if not outside.any():
        return out
    shape = [-1 if d == p.axis else 1 for d in range(value.dim())]
    return out.masked_fill(torch.from_numpy(outside).reshape(shape), float(a.get("extrapolation_value", 0.0)))


def _half_pixel(p: Axis, i: Array) -> Array:
    return (i + 0.5) / p.scale - 0.5


def _symmetric(p: Axis, i: Array) -> Array:
    """Half pixels, with the centre of the output in the centre of the input where the size was rounded."""
    length = p.scale * p.count
    return p.count / 2 * (1 - p.wanted / length) + _half_pixel(p, i)


def _aligned(p: Axis, i: Array) -> Array:
    length = p.scale * p.count
    return np.zeros(p.wanted) if length == 1 else i * (p.count - 1) / (length - 1)


def _cropped(p: Axis, i: Array) -> Array:
    length, size = p.scale * p.count, (p.last - p.first) * (p.count - 1)
    inside = np.full(p.wanted, size / 2) if length == 1 else i * size / (length - 1)
    return inside + p.first * (p.count - 1)


COORDINATES: dict[str, Any] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda p, i: _half_pixel(p, i) if p.scale * p.count != 1 else np.full(p.wanted, -0.5),
    "align_corners": _aligned,
    "asymmetric": lambda p, i: i / p.scale,
    "tf_half_pixel_for_nn": lambda p, i: (i + 0.5) / p.scale,
    "tf_crop_and_resize": _cropped,
}
"""Where each element of the output lies in the input."""


def _places(p: Axis, a: Attributes) -> Array:
    how = a.get("coordinate_transformation_mode", "half_pixel")
    found: Array = COORDINATES[how](p, np.arange(p.wanted, dtype=np.float64))
    return found


def _outside(p: Axis, a: Attributes) -> Array:
    """Say which elements of the output lie outside the input and take the extrapolation value."""
    if a.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        return np.zeros(p.wanted, dtype=bool)
    places = _places(p, a)
    return (places < 0) | (places > p.count - 1)


def _taps(p: Axis, a: Attributes) -> tuple[Array, Array]:
    """Return which elements of the input make each element of the output, and their weights: (wanted, taps) each."""
    places, mode = _places(p, a), a.get("mode", "nearest")
    # A place on an element counts as the end of the interval before it, as the standard's reference has it.
    base = np.ceil(places) - 1
    ratio = places - base
    if mode == "nearest":
        step = _nearest(ratio, a.get("nearest_mode", "round_prefer_floor"))
        picked = (base + step).astype(np.int64).clip(0, p.count - 1)[:, None]
        return picked, np.ones(picked.shape)
    shrink = min(p.scale, 1.0) if a.get("antialias") else 1.0
    reach = 1 if mode == "linear" else 2
    start = math.floor(-reach / shrink) + 1
    offsets = np.arange(start, 2 - start)
    claim([p.wanted, len(offsets)])
    distance = np.abs(offsets[None, :] - ratio[:, None]) * shrink
    weights = np.clip(1 - distance, 0, 1) if mode == "linear" else _cubic(distance, a.get("cubic_coeff_a", -0.75))
    if a.get("antialias"):
        weights = weights / weights.sum(1, keepdims=True)
    index = (base[:, None] + offsets).astype(np.int64)
    if a.get("exclude_outside"):
        weights = np.where((index < 0) | (index >= p.count), 0.0, weights)
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1.0, total)
    return index.clip(0, p.count - 1), weights


NEAREST: dict[str, Any] = {
    "round_prefer_floor": lambda ratio: ratio > 0.5,
    "round_prefer_ceil": lambda ratio: ratio >= 0.5,
    "floor": lambda ratio: ratio == 1.0,
    "ceil": lambda ratio: ratio > 0,
}


def _nearest(ratio: Array, how: str) -> Array:
    """Return 0 for the element before a place, 1 for the one after; on an element it is 1 after the one before."""
    found: Array = NEAREST[how](ratio).astype(np.float64)
    return found


def _cubic(distance: Array, coefficient: float) -> Array:
    """Keys' cubic kernel with parameter a: nothing beyond two elements."""
    near = ((coefficient + 2) * distance - (coefficient + 3)) * distance**2 + 1
    far = ((coefficient * distance - 5 * coefficient) * distance + 8 * coefficient) * distance - 4 * coefficient
    found: Array = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return found


ROWS: Rows = {
    "Resize": Row(resize, known=(1, 2, 3)),
    "Upsample": Row(resize, known=(1,)),
}
