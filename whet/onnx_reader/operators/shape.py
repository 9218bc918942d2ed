"""Rows of the operators that rearrange elements and never change them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Value, at, claim, host, ints, is_host, settled, tensor


def shape(call: Call, x: list[Value], a: Attributes) -> Value:
    """Shape: the sizes of dimensions `start` to before `end`, as a known value."""
    return host(list(x[0].shape)[slice(a.get("start", 0), a.get("end"))])


def size(call: Call, x: list[Value], a: Attributes) -> Value:
    """Size: the number of elements, as a known value."""
    return host([math.prod(x[0].shape)], ())


def reshape(call: Call, x: list[Value], a: Attributes) -> Value:
    """Reshape: 0 keeps a size unless `allowzero`, -1 takes what is left; a fixed batch becomes the real one."""
    wanted = ints(x[1]) if at(x, 1) is not None else list(a["shape"])
    old = list(x[0].shape)
    if not a.get("allowzero"):
        wanted = [old[i] if isinstance(w, int) and w == 0 and i < len(old) else w for i, w in enumerate(wanted)]
    if call.batch is not None:
        wanted = batched(wanted, old, call.batch)
    if is_host(x[0]):
        return settled(x[0].reshape(wanted))
    return x[0].reshape(wanted)


def batched(wanted: list[Any], old: list[Any], batch: int) -> list[Any]:
    """Return sizes that a file wrote for its fixed `batch`, for the batch that is really there.

    Only the first size is touched: what belongs to one example stays as it is. The reader then checks that the rows
    of a batch do not depend on each other.

    >>> batched([1, 3, 8], [5, 24], 1), batched([1, -1, 8], [5, 3, 8], 1), batched([-1, 8], [5, 3, 8], 1)
    ([5, 3, 8], [5, -1, 8], [-1, 8])
    """
    if not wanted or not old or not isinstance(wanted[0], int) or wanted[0] == -1:
        return wanted
    if -1 in wanted:
        return [old[0], *wanted[1:]] if wanted[0] == batch else wanted
    there, stated = math.prod(old), math.prod(wanted)
    if there == stated or stated == 0:
        return wanted
    return [wanted[0] * there // stated, *wanted[1:]]


def flatten(call: Call, x: list[Value], a: Attributes) -> Value:
    """Flatten: two dimensions, those before `axis` and those from it on."""
    value, axis = tensor(x[0]), a.get("axis", 1)
    axis = axis + value.dim() if axis < 0 else axis
    if axis == 1 and value.dim() > 1:
        return value.flatten(1)
    return value.reshape(math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))


def transpose(call: Call, x: list[Value], a: Attributes) -> Value:
    """Transpose: dimensions in the order `perm`, by default reversed."""
    order = a.get("perm") or list(reversed(range(x[0].ndim)))
    return x[0].transpose(order) if is_host(x[0]) else x[0].permute(order)


def squeeze(call: Call, x: list[Value], a: Attributes) -> Value:
    """Squeeze: without the stated dimensions of one element, by default all of them."""
    value = x[0]
    given = ints(x[1]) if at(x, 1) is not None else a.get("axes")
    sizes = list(value.shape)
    gone = {int(i) % max(len(sizes), 1) for i in given} if given is not None else None
    if gone is None:
        gone = {i for i, s in enumerate(sizes) if isinstance(s, int) and s == 1}
    if any(isinstance(sizes[i], int) and sizes[i] != 1 for i in gone):
        raise call.not_read(f"a squeeze of dimensions {sorted(gone)} of the shape {sizes}")
    if is_host(value):
        return value.reshape([s for i, s in enumerate(sizes) if i not in gone])
    for dim in sorted(gone, reverse=True):
        value = value.squeeze(dim)
    return value


def unsqueeze(call: Call, x: list[Value], a: Attributes) -> Value:
    """Unsqueeze: with new dimensions of one element at the stated places of the result."""
    value = x[0]
    given = ints(x[1]) if at(x, 1) is not None else a["axes"]
    rank = value.ndim + len(given)
    for axis in sorted(int(i) % rank for i in given):
        value = np.expand_dims(value, axis) if is_host(value) else value.unsqueeze(axis)
    return value


def concat(call: Call, x: list[Value], a: Attributes) -> Value:
    """Concat: the inputs end to end along `axis`."""
    axis = a.get("axis", 1)
    if all(map(is_host, x)):
        return settled(np.concatenate(x, axis))
    parts = [tensor(v) for v in x]
    if call.batch == 1 and axis % parts[0].dim() != 0:
        parts = _same_batch(parts)
    return torch.cat(parts, axis)


def _same_batch(parts: list[Tensor]) -> list[Tensor]:
    """Repeat what a file wrote for one example (a class token) for each example of the batch."""
    sizes = [part.shape[0] for part in parts if not (isinstance(part.shape[0], int) and part.shape[0] == 1)]
    if not sizes:
        return parts
    return [part.expand(sizes[0], *part.shape[1:]) for part in parts]


def split(call: Call, x: list[Value], a: Attributes) -> Value:
    """Split: parts along `axis` of the stated sizes, or equal ones of which the last is the shortest."""
    axis, value = a.get("axis", 0), x[0]
    total = value.shape[axis]
    if at(x, 1) is not None:
        sizes = ints(x[1])
    elif "split" in a:
        sizes = list(a["split"])
    else:
        count = a.get("num_outputs") or len(call.step.outputs)
        part = -(-total // count)
        sizes = [part] * (count - 1) + [total - part * (count - 1)]
    if is_host(value):
        return tuple(settled(part) for part in np.split(value, np.cumsum(sizes)[:-1], axis))
    return tuple(value.split(sizes, axis))


def expand(call: Call, x: list[Value], a: Attributes) -> Value:
    """Expand: dimensions of one element stretched to the wanted sizes; others stay."""
    wanted = ints(x[1])
    claim(wanted)
    if is_host(x[0]) and x[0].dtype != object and all(isinstance(w, int) for w in wanted):
        sizes = np.broadcast_shapes(x[0].shape, tuple(wanted))
        claim(sizes)
        return np.broadcast_to(x[0], sizes)
    value = tensor(x[0])
    have = [1] * (len(wanted) - value.dim()) + list(value.shape)
    wanted = [1] * (len(have) - len(wanted)) + wanted
    return value.expand([h if isinstance(w, int) and w == 1 else w for h, w in zip(have, wanted)])


def tile(call: Call, x: list[Value], a: Attributes) -> Value:
    """Tile: the input repeated so often along each dimension."""
    repeats = ints(x[1])
    claim([*x[0].shape, *repeats])
    if is_host(x[0]) and all(isinstance(r, int) for r in repeats):
        return settled(np.tile(x[0], repeats))
    return tensor(x[0]).repeat(repeats)


def depth_to_space(call: Call, x: list[Value], a: Attributes) -> Value:
    """(N, C, H, W) to (N, C / b^2, H b, W b); `CRD`, torch's own order, or `DCR`."""
    value, b = tensor(x[0]), a["blocksize"]
    if choice(a, "mode", "DCR", "CRD") == "CRD":
        return F.pixel_shuffle(value, b)
    n, c, h, w = value.shape
    parts = value.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(call: Call, x: list[Value], a: Attributes) -> Value:
    """(N, C, H, W) to (N, C b^2, H / b, W / b), `DCR` unless told otherwise; `CRD` is torch's own order."""
    value, b = tensor(x[0]), a["blocksize"]
    if choice(a, "mode", "DCR", "CRD") == "CRD":
        return F.pixel_unshuffle(value, b)
    n, c, h, w = value.shape
    parts = value.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * b * b, h // b, w // b)


ROWS: Rows = {
    "Shape": Row(shape),
    "Size": Row(size),
    "Reshape": Row(reshape, known=(1,)),
    "Flatten": Row(flatten),
    "Transpose": Row(transpose),
    "Squeeze": Row(squeeze, known=(1,)),
    "Unsqueeze": Row(unsqueeze, known=(1,)),
    "Concat": Row(concat),
    "Split": Row(split, known=(1,)),
    "Expand": Row(expand, known=(1,)),
    "Tile": Row(tile, known=(1,)),
    "DepthToSpace": Row(depth_to_space),
    "SpaceToDepth": Row(space_to_depth),
}
