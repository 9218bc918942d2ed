"""Rows of the convolutions; one with constant weights has a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Value, claim, ints, optional_tensor, tensor

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def geometry(a: Attributes, kernel: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Return strides and dilations, ones where the file states none."""
    n = len(kernel)
    return list(a.get("strides") or [1] * n), list(a.get("dilations") or [1] * n)


AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "")
"""What `auto_pad` may be."""


def same_pads(a: Attributes, totals: Sequence[Any]) -> list[Any]:
    """Return begins and ends for the padding in all that `auto_pad` leads to; the odd one comes last or first."""
    upper = a.get("auto_pad") == "SAME_UPPER"
    begins = [total // 2 if upper else total - total // 2 for total in totals]
    return begins + [total - begin for total, begin in zip(totals, begins)]


def pads_of(a: Attributes, sizes: Sequence[Any], kernel: Sequence[Any]) -> list[Any]:
    """Return the padding at all begins, then at all ends, for an input of `sizes`."""
    auto, n = choice(a, "auto_pad", *AUTO), len(kernel)
    if auto in ("NOTSET", ""):
        return list(a.get("pads") or [0] * 2 * n)
    if auto == "VALID":
        return [0] * 2 * n
    strides, dilations = geometry(a, kernel)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    return same_pads(a, [max(0, (-(-s // st) - 1) * st + w - s) for s, st, w in zip(sizes, strides, windows)])


def flat_pads(pads: Sequence[Any]) -> list[Any]:
    """Return begins and ends in the order of `torch.nn.functional.pad`: last dimension first.

    >>> flat_pads([1, 2, 3, 4])
    [2, 4, 1, 3]
    """
    n = len(pads) // 2
    return [p for i in reversed(range(n)) for p in (pads[i], pads[n + i])]


def padded(value: Tensor, pads: Sequence[Any], fill: float = 0.0) -> Tensor:
    """Return `value` padded (or cropped) at its last dimensions. Shape (..., sizes plus their padding)."""
    n = len(pads) // 2
    claim([s + pads[i] + pads[n + i] for i, s in enumerate(value.shape[-n:])])
    result: Tensor = F.pad(value, flat_pads(pads), value=fill) if any(pads) else value
    return result


def convolve(call: Call, x: list[Value], a: Attributes) -> Value:
    """Conv: (N, in, ...) to (N, out, ...), by the step's layer where it has one."""
    value = tensor(x[0])
    weight = tensor(x[1]) if call.layer is None else call.layer.weight
    kernel = list(weight.shape[2:])
    pads, n = pads_of(a, value.shape[2:], kernel), len(kernel)
    if call.layer is not None:
        inside = tuple(call.layer.padding) == tuple(pads[:n]) == tuple(pads[n:])
        return call.layer(value if inside else padded(value, pads))
    return convolved(call, value, weight, optional_tensor(x, 2), a)


def convolved(call: Call, value: Tensor, weight: Tensor, bias: Tensor | None, a: Attributes) -> Tensor:
    """Return a convolution with kernel (out, in / groups, ...) over one to three dimensions, padded as stated."""
    kernel = list(weight.shape[2:])
    n = len(kernel)
    if n not in CONVOLUTIONS:
        raise call.not_read(f"a convolution over {n} dimensions")
    pads, (strides, dilations) = pads_of(a, value.shape[2:], kernel), geometry(a, kernel)
    claim([s + pads[i] + pads[n + i] for i, s in enumerate(value.shape[2:])])
    padding = pads[:n]
    if pads[:n] != pads[n:]:
        value, padding = padded(value, pads), [0] * n
    return CONVOLUTIONS[n](value, weight, bias, strides, padding, dilations, a.get("group", 1))


def transposed_pads(a: Attributes, sizes: Sequence[Any], kernel: Sequence[Any]) -> list[Any]:
    """Return what is cut off a transposed convolution's full output, at all begins and at all ends."""
    n, auto = len(kernel), choice(a, "auto_pad", *AUTO)
    strides, dilations = geometry(a, kernel)
    extra = list(a.get("output_padding") or [0] * n)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    full = [(s - 1) * st + e + w for s, st, e, w in zip(sizes, strides, extra, windows)]
    if "output_shape" in a:
        return same_pads(a, [f - w for f, w in zip(full, a["output_shape"][-n:])])
    if auto.startswith("SAME"):
        return same_pads(a, [f - s * st for f, s, st in zip(full, sizes, strides)])
    return pads_of(a, sizes, kernel)


def convolve_transposed(call: Call, x: list[Value], a: Attributes) -> Value:
    """ConvTranspose: (N, in, ...) to (N, out, ...), cut to the stated output shape or padding."""
    value = tensor(x[0])
    if call.layer is not None:
        return call.layer(value)
    weight, bias = tensor(x[1]), optional_tensor(x, 2)
    kernel = list(weight.shape[2:])
    n, pads = len(kernel), transposed_pads(a, value.shape[2:], kernel)
    if n not in TRANSPOSED:
        raise call.not_read(f"a convolution over {n} dimensions")
    strides, dilations = geometry(a, kernel)
    extra = list(a.get("output_padding") or [0] * n)
    windows = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    claim([(s - 1) * st + w for s, st, w in zip(value.shape[2:], strides, windows)])
    groups = a.get("group", 1)
    if pads[:n] == pads[n:] and min(pads) >= 0:
        return TRANSPOSED[n](value, weight, bias, strides, pads[:n], extra, groups, dilations)
    # What the operator pads at the end belongs to its output, so all of it is made first and then cut to size.
    whole = TRANSPOSED[n](value, weight, None, strides, [0] * n, [0] * n, groups, dilations)
    ends = [pads[n + i] - extra[i] for i in range(n)]
    out = padded(whole, [-p for p in [*pads[:n], *ends]])
    return out if bias is None else out + bias.reshape(1, -1, *[1] * n)


def causal(call: Call, x: list[Value], a: Attributes) -> Value:
    """A depthwise convolution of which each position sees only those before; its state is the last k - 1 inputs."""
    value, weight, bias = tensor(x[0]), tensor(x[1]), optional_tensor(x, 2)
    before, kind = weight.shape[2] - 1, choice(a, "activation", "none", "silu", "swish")
    past = optional_tensor(x, 3)
    whole = F.pad(value, [before, 0]) if past is None else torch.cat([past, value], 2)
    out: Tensor = F.conv1d(whole, weight, bias, groups=value.shape[1])
    if kind != "none":
        out = F.silu(out.float()).to(out.dtype)
    return out, whole.narrow(2, whole.shape[2] - before, before)


def column_to_image(call: Call, x: list[Value], a: Attributes) -> Value:
    """Add blocks of columns up where they lie in the image: (N, C x block, positions) to (N, C, image)."""
    value, image, block = tensor(x[0]), ints(x[1]), ints(x[2])
    n = len(image)
    strides, dilations = geometry(a, block)
    pads = list(a.get("pads") or [0] * 2 * n)
    sizes = [s + pads[i] + pads[n + i] for i, s in enumerate(image)]
    claim([*value.shape[:1], value.shape[1], *sizes])
    counts = [(p - d * (k - 1) - 1) // s + 1 for p, d, k, s in zip(sizes, dilations, block, strides)]
    batch, channels = value.shape[0], value.shape[1] // math.prod(block)
    offsets = np.indices(block).reshape(n, -1) * np.array(dilations)[:, None]
    starts = np.indices(counts).reshape(n, -1) * np.array(strides)[:, None]
    places = np.ravel_multi_index(tuple(offsets[:, :, None] + starts[:, None, :]), tuple(sizes)).reshape(-1)
    empty = torch.zeros(batch, channels, math.prod(sizes), dtype=value.dtype)
    columns = value.reshape(batch, channels, math.prod(block) * math.prod(counts))
    summed = empty.index_add(2, torch.from_numpy(places.astype(np.int64)), columns)
    return padded(summed.reshape(batch, channels, *sizes), [-p for p in pads])


# -- deformable ----------------------------------------------------------------------------------------------------


def deformable(call: Call, x: list[Value], a: Attributes) -> Value:
    """A convolution whose kernel elements look where offsets move them to, between pixels by bilinear weights."""
    value, weight, offset = tensor(x[0]), tensor(x[1]), tensor(x[2])
    bias, mask = optional_tensor(x, 3), optional_tensor(x, 4)
    if value.dim() != 4:
        raise call.not_read(f"a deformable convolution over {value.dim() - 2} dimensions")
    kernel, groups, parts = list(weight.shape[2:]), a.get("group", 1), a.get("offset_group", 1)
    (strides, dilations), pads = geometry(a, kernel), pads_of(a, value.shape[2:], kernel)
    batch, channels, taps = value.shape[0], value.shape[1], math.prod(kernel)
    out = list(offset.shape[2:])
    moved = offset.reshape(batch, parts, taps, 2, *out)
    grid = _sampling_grid(out, kernel, strides, dilations, pads)
    places = moved + grid.to(value.dtype)
    shares = value.reshape(batch * parts, channels // parts, *value.shape[2:])
    sampled = _bilinear(shares, places.reshape(batch * parts, taps, 2, *out))
    if mask is not None:
        sampled = sampled * mask.reshape(batch * parts, 1, taps, *out)
    columns = sampled.reshape(batch, groups, channels // groups * taps, math.prod(out))
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    result = torch.matmul(kernels, columns).reshape(batch, weight.shape[0], *out)
    return result if bias is None else result + bias.reshape(1, -1, 1, 1)


def _sampling_grid(
    out: list[Any], kernel: list[Any], strides: list[int], dilations: list[int], pads: list[Any]
) -> Tensor:
    """Return where the kernel's elements look without offsets: (taps, 2, height, width)."""
    taps = np.indices(kernel).reshape(2, -1) * np.array(dilations)[:, None]
    starts = np.indices(out) * np.array(strides)[:, None, None] - np.array(pads[:2])[:, None, None]
    return torch.from_numpy(taps.T[:, :, None, None] + starts[None])


def _bilinear(value: Tensor, places: Tensor) -> Tensor:
    """Return (N, C, taps, height, width), read from (N, C, H, W) at rows and columns (N, taps, 2, height, width)."""
    height, width = value.shape[2:]
    low = places.floor()
    flat = value.flatten(2)
    total = torch.zeros((), dtype=value.dtype)
    for down in (0, 1):
        for right in (0, 1):
            corner = low + torch.tensor([down, right], dtype=low.dtype).reshape(1, 1, 2, 1, 1)
            near = (1 - (places - corner).abs()).prod(2)
            row, column = corner.unbind(2)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1).to(torch.int64) * width + column.clamp(0, width - 1).to(torch.int64)
            index = index.flatten(1)[:, None, :].expand(-1, flat.shape[1], -1)
            picked = flat.gather(2, index).reshape(value.shape[0], value.shape[1], *row.shape[1:])
            total = total + picked * (near * inside)[:, None]
    return total


ROWS: Rows = {
    "Conv": Row(convolve),
    "ConvTranspose": Row(convolve_transposed),
    "CausalConvWithState": Row(causal),
    "Col2Im": Row(column_to_image, known=(1, 2)),
    "DeformConv": Row(deformable),
}
