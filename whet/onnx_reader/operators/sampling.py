"""Rows of the operators that read a tensor at places between its elements."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Value, claim, ints, is_host, tensor

GRID_MODES = {
    "linear": "bilinear", "cubic": "bicubic", "bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest",
}  # fmt: skip
PADDING = ("zeros", "border", "reflection")


def grid_sample(call: Call, x: list[Value], a: Attributes) -> Value:
    """GridSample: (N, C, H, W) read at places (N, H', W', 2), from -1 to 1 over the image, to (N, C, H', W')."""
    mode, padding = choice(a, "mode", *GRID_MODES), choice(a, "padding_mode", *PADDING)
    value, grid = tensor(x[0]), tensor(x[1])
    aligned = bool(a.get("align_corners", 0))
    return F.grid_sample(value, grid.to(value.dtype), GRID_MODES[mode], padding, aligned)


def affine_grid(call: Call, x: list[Value], a: Attributes) -> Value:
    """AffineGrid: places (N, H, W, 2) of an image under matrices (N, 2, 3), or of a volume."""
    size = ints(x[1])
    claim([*size[:1], *size[2:], len(size) - 2])
    return F.affine_grid(tensor(x[0]), size, bool(a.get("align_corners", 0)))


# -- regions -------------------------------------------------------------------------------------------------------


def roi_align(call: Call, x: list[Value], a: Attributes) -> Value:
    """The mean or the maximum of bilinear samples in each cell of a grid over each region (left, top, right, bottom).

    Without a sampling ratio the number of samples depends on the regions, which must then be known.
    """
    value, images = tensor(x[0]), tensor(x[2]).to(torch.int64)
    height, width = a.get("output_height", 1), a.get("output_width", 1)
    usual = ("half_pixel", "output_half_pixel") if call.opset >= 16 else ("output_half_pixel", "half_pixel")
    half = choice(a, "coordinate_transformation_mode", *usual) == "half_pixel"
    regions = tensor(x[1]) * a.get("spatial_scale", 1.0) - (0.5 if half else 0.0)
    claim([x[1].shape[0], value.shape[1], height, width])
    mode, ratio = choice(a, "mode", "avg", "max"), int(a.get("sampling_ratio", 0))
    corners, sizes = regions[:, :2], regions[:, 2:] - regions[:, :2]
    sizes = sizes if half else sizes.clamp(min=1.0)
    if ratio > 0:
        return _aligned(value, images, corners, sizes, (height, width), (ratio, ratio), mode)
    if not is_host(x[1]):
        raise call.not_read("a sampling ratio that depends on data")
    known = (x[1][:, 2:] - x[1][:, :2]) * a.get("spatial_scale", 1.0)
    parts = []
    for i, (across, down) in enumerate((known if half else known.clip(min=1.0)).tolist()):
        grid = (max(math.ceil(down / height), 1), max(math.ceil(across / width), 1))
        claim([value.shape[1], *grid, height, width])
        row = slice(i, i + 1)
        parts.append(_aligned(value, images[row], corners[row], sizes[row], (height, width), grid, mode))
    return torch.cat(parts) if parts else value.new_zeros(0, value.shape[1], height, width)


def _aligned(
    value: Tensor,
    images: Tensor,
    corners: Tensor,
    sizes: Tensor,
    cells: tuple[int, int],
    samples: tuple[int, int],
    mode: str,
) -> Tensor:
    """Return (regions, channels, height, width) for a fixed number of samples a cell, down and across."""
    claim([images.shape[0], value.shape[1], *cells, *samples])
    (height, width), (down, across) = cells, samples
    rows = corners[:, 1:2] + _steps(height, down, value) * sizes[:, 1:2] / height
    columns = corners[:, 0:1] + _steps(width, across, value) * sizes[:, 0:1] / width
    picked = value.index_select(0, images).flatten(2)
    (top, bottom, low, high), inside_y = _neighbours(rows, value.shape[2])
    (left, right, near, far), inside_x = _neighbours(columns, value.shape[3])
    shape = (picked.shape[0], picked.shape[1], height, down, width, across)
    terms = []
    for y, weight_y in ((top, low), (bottom, high)):
        for z, weight_z in ((left, near), (right, far)):
            index = (y[:, :, None] * value.shape[3] + z[:, None, :]).flatten(1)
            found = picked.gather(2, index[:, None, :].expand(-1, picked.shape[1], -1))
            weight = (weight_y * inside_y)[:, :, None] * (weight_z * inside_x)[:, None, :]
            terms.append((found * weight.flatten(1)[:, None, :]).reshape(shape))
    if mode == "avg":
        return (terms[0] + terms[1] + terms[2] + terms[3]).mean((3, 5))
    return torch.stack(terms).amax((0, 4, 6))


def _steps(cells: int, samples: int, like: Tensor) -> Tensor:
    """Return where the samples lie, in cells: (0.5, 1.5, ...) / samples in each."""
    steps = np.arange(cells)[:, None] + (np.arange(samples)[None, :] + 0.5) / samples
    return torch.from_numpy(steps.reshape(1, -1)).to(like.dtype)


def _neighbours(places: Tensor, size: int) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return the elements before and after, their weights, and whether the place lies in the input at all."""
    inside = (places >= -1.0) & (places <= size)
    held = places.clamp(min=0).clamp(max=float(size - 1))
    before = held.floor()
    after = (before + 1).clamp(max=float(size - 1))
    share = held - before
    return (before.to(torch.int64), after.to(torch.int64), 1 - share, share), inside.to(places.dtype)


ROWS: Rows = {
    "GridSample": Row(grid_sample),
    "AffineGrid": Row(affine_grid, known=(1,)),
    "RoiAlign": Row(roi_align, known=(1,)),
}
