"""Weights with many zeros: a mask of one bit a weight and the values that are not zero, decoded within the file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil, isqrt, prod
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from whet.hardware.onnx_writer.digits import HELD, Kind, digits, kind_of, shrunk, taken_apart
from whet.hardware.onnx_writer.writer import Writer

Array = NDArray[Any]

LEAST_SAVED = 0.1
"""The share of a tensor's bytes below which packing it is not worth the time that decoding takes at loading; of digits,
which are decoded in any case, any saving is worth it."""
TENSOR_BYTES = 200
"""What a tensor costs beside its bits and values: its name, its place in the stream, its shape."""


def pack_zeros(w: Writer) -> None:
    """Store tensors of which many values are zero as a mask and the other values, where the file becomes smaller.

    A dense weight of `b` bits takes `b / 8` bytes, one with a share `z` of zeros `(1 + (1 - z) b) / 8`: int8 with 80 %
    zeros .325. The tensors of one type form one stream. Bit `i` of the mask says whether weight `i` is no zero; then it
    is number `r(i)` of the values, the count of ones up to `i`:

        w = values[r * bit],    values[0] = 0,    r(8 j + k) = ones before byte j + ones of byte j up to its bit k

    Runtimes compute that once, when they open the file. Only operators that OpenVINO evaluates on constants are used:
    it has none for CumSum, so the ones before a byte are counted by products with triangles of ones. Values of few
    levels are digits themselves (`whet.hardware.onnx_writer.digits`), of one level less: none of them is zero.
    """
    kinds = {name: kind_of(t) for name, t in w.initializers.items() if t.data_type in HELD}
    for kind in sorted(set(kinds.values())):
        names = [n for n in kinds if kinds[n] == kind and saved_bytes(w.initializers[n]) > 0]
        rival = partial(digits, w, most=kind.levels // 2) if kind.levels else None
        if names:
            shrunk(w, names, partial(_decoded, w, kind), rival)


def saved_bytes(tensor: Any) -> float:
    """Return how many bytes a mask saves of a tensor; 0 where it is not worth it."""
    kind, count = kind_of(tensor), prod(tensor.dims)
    dense = count * kind.bits / 8
    if dense < TENSOR_BYTES:
        return 0.0
    left = count / 8 + np.count_nonzero(numpy_helper.to_array(tensor)) * kind.value_bits / 8
    left, least = (left, 0.0) if kind.levels else (left + TENSOR_BYTES, LEAST_SAVED)
    return float(dense - left) if dense - left > least * dense else 0.0


def _decoded(w: Writer, kind: Kind, flat: Array) -> str:
    """Write a stream of weights as mask and values; return the name of what they give together."""
    sizes = _grid(ceil(len(flat) / 8))
    mask = np.packbits(flat != 0, bitorder="little")
    mask = np.pad(mask, (0, prod(sizes) - len(mask)))
    stored = _values(w, kind, flat)
    bits = taken_apart(w, w.cast(w.constant(torch.from_numpy(mask), "mask"), torch.uint8, torch.int32), 2, 8)
    ranks = w.emit("Mul", [w.emit("Add", [w.emit("MatMul", [bits, _triangle(w, 8)]), bits]), bits])
    ones = w.emit("ReduceMax", [ranks, w.vector([1])], keepdims=0)
    before = w.emit("Reshape", [_before(w, ones, sizes), w.vector([-1, 1])])
    places = w.emit("Mul", [w.emit("Add", [before, ranks]), w.emit("Sign", [ranks])])
    places = w.emit("Reshape", [places, w.vector([-1])])
    if len(flat) != 8 * prod(sizes):
        places = w.emit("Slice", [places, w.vector([0]), w.vector([len(flat)]), w.vector([0])])
    return w.emit("Gather", [stored, places])


def _values(w: Writer, kind: Kind, flat: Array) -> str:
    """Write a zero and the values that are not zero; return the name of the vector."""
    if kind.levels:
        first = w.constant(torch.zeros(1, dtype=torch.int8))
        return w.emit("Concat", [first, digits(w, flat[flat != 0], kind.levels // 2, zero=False)], axis=0)
    values = torch.from_numpy(np.concatenate([np.zeros(1, flat.dtype), flat[flat != 0]]))
    stored = w.constant(values, kind.name, bits=4 if kind.bits == 4 else 8)
    return w.emit("Cast", [stored], to=onnx.TensorProto.INT8) if kind.bits == 4 else stored


def _grid(count: int) -> tuple[int, int, int]:
    """Return the sides of a box that holds so many bytes, little more, and needs no large triangles."""
    side = max(1, min(round(count ** (1 / 3)), isqrt(count // 64)))
    return ceil(count / side**2), side, side


def _before(w: Writer, counts: str, sizes: Sequence[int]) -> str:
    """Return the sums of all numbers before each of a vector that fills a box of such sides."""
    *outer, side = sizes
    rows = w.emit("Reshape", [counts, w.vector([-1, side])])
    sums = w.emit("MatMul", [rows, _triangle(w, side)])
    if outer:
        totals = w.emit("ReduceSum", [rows, w.vector([1])], keepdims=0)
        sums = w.emit("Add", [sums, w.emit("Reshape", [_before(w, totals, outer), w.vector([-1, 1])])])
    return sums


def _triangle(w: Writer, side: int) -> str:
    """Return a square matrix of ones above its diagonal: (i, j) is 1 where i comes before j."""
    ends = [w.name(torch.tensor(v, dtype=torch.int32)) for v in (0, side, 1)]
    line = w.emit("Range", ends)
    column = w.emit("Unsqueeze", [line, w.vector([1])])
    return w.emit("Cast", [w.emit("Less", [column, line])], to=onnx.TensorProto.INT32)
