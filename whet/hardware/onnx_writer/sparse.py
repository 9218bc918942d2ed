"""Weights with many zeros: a mask of one bit a weight and the values that are not zero, decoded within the file."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isqrt, prod
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from whet.hardware.onnx_writer.writer import Writer

Array = NDArray[Any]

KINDS = {
    onnx.TensorProto.FLOAT: ("values.f32", 8 * 4),
    onnx.TensorProto.INT8: ("values.int8", 8),
    onnx.TensorProto.INT4: ("values.int4", 4),
}
"""The types that are packed: how their values are called in the file, and the bits of each."""
LEAST_SAVED = 0.1
"""The share of a tensor's bytes below which packing it is not worth the time that decoding takes at loading."""
TENSOR_BYTES = 200
"""What a tensor costs beside its bits and values: its name, its place in the stream, its shape."""
PIECE = 1 << 22
"""The most weights that are decoded in one piece: whole numbers of four bytes a weight are needed meanwhile."""
BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
RANKS = (BITS.cumsum(1) * BITS).astype(np.uint8)
"""For each byte and each of its bits, the lowest first: how many ones there are up to it, 0 where it is none itself."""


def pack_zeros(w: Writer) -> None:
    """Store tensors of which many values are zero as a mask and the other values, where the file becomes smaller.

    A dense weight of `b` bits takes `b / 8` bytes, one with a share `z` of zeros `(1 + (1 - z) b) / 8`: int8 with 80 %
    zeros .325. The tensors of one type form one stream. Bit `i` of the mask says whether weight `i` is no zero; then it
    is number `r(i)` of the values, the count of ones up to `i`:

        w = values[r * bit],    values[0] = 0,    r(8 j + k) = ones before byte j + RANKS[byte j, k]

    Runtimes compute that once, when they open the file. Only operators that OpenVINO evaluates on constants are used:
    it has none for CumSum, so the ones before a byte are counted by products with triangles of ones.
    """
    for kind in KINDS:
        names = [n for n, t in w.initializers.items() if t.data_type == kind and saved_bytes(t) > 0]
        if not names:
            continue
        before, whole = w.snapshot(), _size(w)
        _pack(w, kind, names)
        if _size(w) > whole:
            w.restore(before)


def saved_bytes(tensor: Any) -> float:
    """Return how many bytes a mask saves of a tensor; 0 where it is not worth it."""
    _, bits = KINDS[tensor.data_type]
    count = prod(tensor.dims)
    if count * bits / 8 < TENSOR_BYTES:
        return 0.0
    left = count / 8 + np.count_nonzero(numpy_helper.to_array(tensor)) * bits / 8 + TENSOR_BYTES
    saved = count * bits / 8 - left
    return float(saved) if saved > LEAST_SAVED * count * bits / 8 else 0.0


def _size(w: Writer) -> int:
    return sum(item.ByteSize() for item in (*w.initializers.values(), *w.nodes))


def _pack(w: Writer, kind: int, names: Sequence[str]) -> None:
    """Replace tensors of one type by what a stream of them all gives."""
    tensors = [w.initializers.pop(name) for name in names]
    flat = np.concatenate([numpy_helper.to_array(t).astype(_held(kind)).ravel() for t in tensors])
    later, w.nodes = w.nodes, []
    pieces = [_decoded(w, kind, flat[start : start + PIECE]) for start in range(0, len(flat), PIECE)]
    stream = pieces[0] if len(pieces) == 1 else w.emit("Concat", pieces, axis=0)
    sizes = w.vector([prod(t.dims) for t in tensors])
    # The parts keep the names, so that whoever reads the file finds the layers under them.
    w.nodes.append(onnx.helper.make_node("Split", [stream, sizes], list(names), axis=0))
    shaped = {}
    for name, tensor in zip(names, tensors, strict=True):
        shaped[name] = name if len(tensor.dims) == 1 else w.emit("Reshape", [name, w.vector(tensor.dims)])
        if kind == onnx.TensorProto.INT4:
            shaped[name] = w.emit("Cast", [shaped[name]], to=kind)
    for node in later:
        node.input[:] = [shaped.get(name, name) for name in node.input]
    w.nodes += later


def _held(kind: int) -> type[np.generic]:
    return np.float32 if kind == onnx.TensorProto.FLOAT else np.int8


def _decoded(w: Writer, kind: int, flat: Array) -> str:
    """Write a stream of weights as mask and values; return the name of what they give together."""
    name, bits = KINDS[kind]
    sizes = _grid(ceil(len(flat) / 8))
    mask = np.packbits(flat != 0, bitorder="little")
    mask = np.pad(mask, (0, prod(sizes) - len(mask)))
    values = torch.from_numpy(np.concatenate([np.zeros(1, flat.dtype), flat[flat != 0]]))
    stored = w.constant(values, name, bits=4 if bits == 4 else 8)
    stored = w.emit("Cast", [stored], to=onnx.TensorProto.INT8) if bits == 4 else stored
    table, given = w.constant(torch.from_numpy(RANKS)), w.constant(torch.from_numpy(mask), "mask")
    ranks = w.emit("Gather", [w.cast(table, torch.uint8, torch.int32), w.cast(given, torch.uint8, torch.int32)])
    ones = w.emit("ReduceMax", [ranks, w.vector([1])], keepdims=0)
    before = w.emit("Reshape", [_before(w, ones, sizes), w.vector([-1, 1])])
    places = w.emit("Mul", [w.emit("Add", [before, ranks]), w.emit("Sign", [ranks])])
    places = w.emit("Reshape", [places, w.vector([-1])])
    if len(flat) != 8 * prod(sizes):
        places = w.emit("Slice", [places, w.vector([0]), w.vector([len(flat)]), w.vector([0])])
    return w.emit("Gather", [stored, places])


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
