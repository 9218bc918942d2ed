"""Weights of few levels: digits of whole numbers, taken apart again within the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from whet.hardware.onnx_writer.writer import Writer

Array = NDArray[Any]

HELD = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.INT8: np.int8, onnx.TensorProto.INT4: np.int8}
"""The types that are packed, and what holds their values meanwhile."""
MOST = 7
"""The largest integer of what is packed as digits: two of fifteen levels are a byte."""
LEAST_WEIGHTS = 256
"""The weights from which a tensor is packed; smaller ones are zero points, and tables of the decoding itself."""
PIECE = 1 << 22
"""The most weights that are decoded in one piece: whole numbers of four bytes a weight are needed meanwhile."""
WORDS = (np.uint8, np.int32)
"""The whole numbers whose digits weights are."""


class Kind(NamedTuple):
    """How a tensor's values are called in the file, their bits, those of values that are not zero, and their levels.

    `levels` is 0 for what a type of the file holds.
    """

    name: str
    bits: float
    value_bits: float
    levels: int = 0


def kind_of(tensor: Any) -> Kind:
    """Return how the values of a tensor of one of the types of `HELD` are stored."""
    if tensor.data_type == onnx.TensorProto.FLOAT:
        return Kind("values.f32", 32, 32)
    if tensor.data_type == onnx.TensorProto.INT4:
        return Kind("values.int4", 4, 4)
    most = _most(tensor)
    return Kind(f"digits.{most}", bits_of(2 * most + 1), bits_of(2 * most), 2 * most + 1) if most else INT8


INT8 = Kind("values.int8", 8, 8)


def _most(tensor: Any) -> int:
    """Return the largest integer of a tensor of few levels; 0 for others."""
    if math.prod(tensor.dims) < LEAST_WEIGHTS:
        return 0
    most = int(np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max())
    return most if most <= MOST else 0


def bits_of(levels: int) -> float:
    """Return the bits that a digit of so many levels takes.

    >>> [round(bits_of(levels), 2) for levels in (2, 3, 4, 5, 7)]
    [1.0, 1.6, 2.0, 2.46, 2.91]
    """
    word, each = _word(levels)
    return float(8 * np.dtype(word).itemsize / each)


def _word(levels: int) -> tuple[Any, int]:
    """Return the whole number, and how many digits it holds, that takes the fewest bytes a digit."""
    found = [(word, int(math.log(np.iinfo(word).max + 1e-6, levels) + 1e-9)) for word in WORDS]
    found = [(word, next(n for n in (k + 1, k, k - 1) if levels**n - 1 <= np.iinfo(word).max)) for word, k in found]
    return min(found, key=lambda each: np.dtype(each[0]).itemsize / each[1])


def pack_digits(w: Writer) -> None:
    """Store integers of 3, 5, 7 to 15 levels as digits of whole numbers, where the file becomes smaller.

        word = sum_i d_i L^i,    d_i = word // L^i - L (word // L^(i + 1)),    w_i = d_i - (L - 1) / 2

    Five digits of three levels are a byte (1.6 bits a weight), thirteen of five are 31 bits (2.46), eleven of seven
    (2.91), two of fifteen a byte. The tensors of as many levels form one stream. Runtimes compute that once, when they
    open the file, by operators that both evaluate on constants.
    """
    kinds = {n: kind_of(t) for n, t in w.initializers.items() if t.data_type == onnx.TensorProto.INT8}
    for kind in sorted({kind for kind in kinds.values() if kind.levels}):
        names = [name for name in kinds if kinds[name] == kind]
        shrunk(w, names, partial(digits, w, most=kind.levels // 2))


def digits(w: Writer, flat: Array, most: int, zero: bool = True) -> str:
    """Write integers up to `most` as digits; return the name of the int8 vector that they give. Shape `(n,)`.

    Without `zero` no value is zero, and there is one level less.
    """
    table = np.array([v for v in range(-most, most + 1) if v or zero], np.int8)
    levels = len(table)
    word, each = _word(levels)
    rows = np.pad(np.searchsorted(table, flat), (0, -len(flat) % each)).reshape(-1, each)
    powers = np.array([levels**i for i in range(each)], np.int64)
    stored = w.constant(torch.from_numpy((rows @ powers).astype(word)), f"digits.{levels}")
    stored = w.cast(stored, torch.uint8, torch.int32) if word is np.uint8 else stored
    found = taken_apart(w, stored, levels, each)
    found = w.emit("Reshape", [found, w.vector([-1])])
    if rows.size != len(flat):
        found = w.emit("Slice", [found, w.vector([0]), w.vector([len(flat)]), w.vector([0])])
    return w.emit("Gather", [w.constant(torch.from_numpy(table)), found])


def taken_apart(w: Writer, words: str, levels: int, each: int) -> str:
    """Return the name of the digits, the lowest first, of whole numbers `(n,)` of type int32: shape `(n, each)`."""
    powers = w.constant(torch.tensor([levels**i for i in range(each)], dtype=torch.int32))
    base = w.constant(torch.tensor(levels, dtype=torch.int32))
    shifted = w.emit("Div", [w.emit("Unsqueeze", [words, w.vector([1])]), powers])
    return w.emit("Sub", [shifted, w.emit("Mul", [w.emit("Div", [shifted, base]), base])])


# -- streams -------------------------------------------------------------------------------------------------------


def shrunk(
    w: Writer, names: Sequence[str], decoded: Callable[[Array], str], rival: Callable[[Array], str] | None = None
) -> None:
    """Replace tensors of one type by what a stream of them all gives, unless the file is smaller without.

    `decoded` writes a stream, a vector `(n,)` of integers or floats, and returns the name of what gives it again. Where
    a `rival` writes it in fewer bytes nothing is done.
    """
    before, least = w.snapshot(), _size(w)
    if rival is not None:
        _pack(w, names, rival)
        least = min(least, _size(w))
        w.restore(before)
        before = w.snapshot()
    _pack(w, names, decoded)
    if _size(w) > least:
        w.restore(before)
    else:
        w.is_packed = True


def _size(w: Writer) -> int:
    return sum(item.ByteSize() for item in (*w.initializers.values(), *w.nodes))


def _pack(w: Writer, names: Sequence[str], decoded: Callable[[Array], str]) -> None:
    tensors = [w.initializers.pop(name) for name in names]
    kind = tensors[0].data_type
    flat = np.concatenate([numpy_helper.to_array(t).astype(HELD[kind]).ravel() for t in tensors])
    later, w.nodes = w.nodes, []
    pieces = [decoded(flat[start : start + PIECE]) for start in range(0, len(flat), PIECE)]
    stream = pieces[0] if len(pieces) == 1 else w.emit("Concat", pieces, axis=0)
    sizes = w.vector([math.prod(t.dims) for t in tensors])
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


def shorten(w: Writer, outputs: Collection[str]) -> None:
    """Give what nodes compute the shortest names that are free, but for the `outputs` and what is read under its name.

    A residual network of twenty layers whose weights take 60 kB has 4 kB of such names.
    """
    kept = {*outputs, *w.initializers, *(n for node in w.nodes if node.op_type == "Split" for n in node.output)}
    fresh_names = filter(lambda name: not w.is_taken(name), (_letters(i) for i in count()))
    short: dict[str, str] = {"": ""}
    for node in w.nodes:
        for given in (node.input, node.output):
            given[:] = [short.get(name, name) for name in given]
        fresh = [n for n in node.output if n not in kept and n]
        short |= dict(zip(fresh, fresh_names, strict=False))
        node.output[:] = [short.get(name, name) for name in node.output]


def _letters(number: int) -> str:
    """Return a name for a number.

    >>> [_letters(n) for n in (0, 25, 26, 27)]
    ['a', 'z', 'ba', 'bb']
    """
    first, last = divmod(number, 26)
    return (_letters(first) if first else "") + chr(ord("a") + last)
