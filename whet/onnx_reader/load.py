"""Reading an ONNX file that nobody vouches for: limits on size, external data inside the folder, clear errors.

Large weights never pass through the protobuf: `_slim` walks the file's outermost fields, leaves the payload of every
large initializer where it is, and `_Payload` reads each from the file straight into the array that becomes the
parameter. So a file costs its own size in memory, not three times that. A file with fields in an unusual order or
number is parsed whole.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from whet.core.errors import LiftError
from whet.onnx_reader.values import Array, NotRead, claim, numpy_dtype, type_name

MOST_BYTES = (2 << 30) - 1
"""A protobuf holds less than 2 GiB; larger networks keep their weights in a side file."""

MOST_EXTERNAL_BYTES = 64 << 30
INLINE_BYTES = 1 << 16
"""Initializers of more bytes than this are read from the file, not from the protobuf."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Field numbers: of the graph in a model, of initializers in a graph, of the bytes in a tensor."""

MOST_DIMENSIONS = 32
MOST_FIELDS = 1_000_000
"""A message of more fields than any network has is left to the protobuf, which is faster."""

PACKED = {21: 2, 22: 2, 23: 2, 25: 4, 26: 4}
"""Elements a byte, for the types that share one: 4-bit and 2-bit."""


@dataclass
class File:
    """A model without its weights, and the weights as arrays by name."""

    model: onnx.ModelProto
    weights: dict[str, Array]


class _Odd(Exception):
    """Fields that `_slim` does not take apart: the file is parsed whole."""


def load(path: Path) -> File:
    """Return the model of `path` and its weights, external data among them.

    No library of custom operators is ever loaded, no path outside the model's folder is opened.

    Raises: LiftError for a file that is missing, too large, truncated, no ONNX model, or that points outside its
    folder.
    """
    if not path.is_file():
        raise LiftError(f"network file '{path}' does not exist.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise LiftError(f"'{path}' has {size} bytes; an ONNX file holds less than 2 GiB, the rest is external data.")
    if size == 0:
        raise LiftError(f"'{path}' is truncated or no ONNX model: it is empty.")
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            slim, places = _slim(data)
        except _Odd:
            slim, places = data[:], {}
    model = _parse(slim, path)
    del slim
    return File(model, _weights(model, path, places))


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise LiftError(f"'{path}' is truncated or no ONNX model: {error}") from error
    if not model.HasField("graph") or not model.graph.output:
        raise LiftError(f"'{path}' is truncated or no ONNX model: it holds no graph with an output.")
    return model


# -- taking large payloads out -------------------------------------------------------------------------------------


def _varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """Return a base-128 integer and where it ends."""
    value = 0
    for position in range(start, min(start + 10, end)):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * (position - start))
        if byte < 0x80:
            return value, position + 1
    raise _Odd


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field of a message: its number, its wire type, where it starts, where its payload starts.

    The payload ends where the next field starts; the last one ends with the message.
    """
    left = MOST_FIELDS
    while start < end:
        left -= 1
        tag, payload = _varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, stop = _varint(data, payload, end)
        elif wire == 2:
            length, payload = _varint(data, payload, end)
            stop = payload + length
        elif wire in (1, 5):
            stop = payload + (8 if wire == 1 else 4)
        else:
            raise _Odd
        if stop > end or left < 0:
            raise _Odd
        yield number, wire, start, payload
        start = stop


def _spans(data: mmap.mmap, start: int, end: int) -> list[tuple[int, int, int, int, int]]:
    """Return the fields of a message, each with its end."""
    found = list(_fields(data, start, end))
    ends = [field[2] for field in found[1:]] + [end]
    return [(*field, stop) for field, stop in zip(found, ends)]


def _slim(data: mmap.mmap) -> tuple[bytes, dict[int, tuple[int, int]]]:
    """Return the model without the bytes of its large initializers, and where those lie: index -> (start, length)."""
    parts: list[bytes] = []
    places: dict[int, tuple[int, int]] = {}
    graphs = 0
    for number, wire, start, payload, stop in _spans(data, 0, len(data)):
        if number != GRAPH:
            parts.append(data[start:stop])
            continue
        graphs += 1
        if wire != 2 or graphs > 1:
            raise _Odd
        body, places = _slim_graph(data, payload, stop)
        parts.append(_message(GRAPH, body))
    return b"".join(parts), places


def _slim_graph(data: mmap.mmap, start: int, end: int) -> tuple[bytes, dict[int, tuple[int, int]]]:
    parts: list[bytes] = []
    places: dict[int, tuple[int, int]] = {}
    count = 0
    for number, wire, begin, payload, stop in _spans(data, start, end):
        if number == INITIALIZER:
            if wire != 2:
                raise _Odd
            if stop - payload > INLINE_BYTES:
                body, place = _slim_tensor(data, payload, stop)
                if place is not None:
                    places[count] = place
                parts.append(_message(INITIALIZER, body))
            else:
                parts.append(data[begin:stop])
            count += 1
        else:
            parts.append(data[begin:stop])
    return b"".join(parts), places


def _slim_tensor(data: mmap.mmap, start: int, end: int) -> tuple[bytes, tuple[int, int] | None]:
    parts: list[bytes] = []
    place: tuple[int, int] | None = None
    for number, wire, begin, payload, stop in _spans(data, start, end):
        if number == RAW_DATA:
            if wire != 2 or place is not None:
                raise _Odd
            place = (payload, stop - payload)
        else:
            parts.append(data[begin:stop])
    return b"".join(parts), place


def _message(number: int, body: bytes) -> bytes:
    """Return a field that holds a message."""
    return _encoded(number << 3 | 2) + _encoded(len(body)) + body


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


# -- weights -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Payload:
    """Where the bytes of a tensor lie; `exact` says that they are its own and nothing else follows."""

    path: Path
    start: int
    length: int
    exact: bool = True

    def read(self, tensor: onnx.TensorProto, where: str) -> Array:
        dims, kind = list(tensor.dims), numpy_dtype(tensor.data_type)
        if tensor.data_type in (27, 28):
            raise NotRead(f"{where}: tensor '{tensor.name}' of type {type_name(tensor.data_type)} is too large.")
        wanted = -(-math.prod(dims) // PACKED.get(tensor.data_type, 1)) * kind.itemsize
        if self.length < wanted or (self.exact and self.length != wanted):
            raise LiftError(f"{where}: tensor '{tensor.name}' needs {wanted} bytes; {self.length} are there.")
        raw = np.fromfile(self.path, np.uint8, wanted, offset=self.start)
        if raw.size != wanted:
            raise LiftError(f"{where}: tensor '{tensor.name}' needs {wanted} bytes; {raw.size} could be read.")
        if tensor.data_type in PACKED:
            small = onnx.TensorProto(dims=dims, data_type=tensor.data_type, raw_data=raw.tobytes())
            return _sound(numpy_helper.to_array(small))
        return _sound(raw.view(kind).reshape(dims))


def _weights(model: onnx.ModelProto, path: Path, places: dict[int, tuple[int, int]]) -> dict[str, Array]:
    """Return the graph's initializers as arrays and take them out of the model."""
    where = f"'{path}'"
    found: dict[str, Array] = {}
    budget = MOST_EXTERNAL_BYTES
    for index, tensor in enumerate(model.graph.initializer):
        name = str(tensor.name)
        if not name or name in found:
            raise LiftError(f"{where}: an initializer has no name or the name of another one: '{name}'.")
        _check_dims(tensor, where)
        payload = _external(tensor, path) if tensor.data_location == onnx.TensorProto.EXTERNAL else None
        if payload is None and index in places:
            payload = _Payload(path, *places[index])
        if payload is None:
            found[name] = array_of(tensor, where)
            continue
        budget -= payload.length
        if budget < 0:
            raise LiftError(f"{where}: its external data are more than {MOST_EXTERNAL_BYTES} bytes.")
        found[name] = payload.read(tensor, where)
    del model.graph.initializer[:]
    return found


def _check_dims(tensor: onnx.TensorProto, where: str) -> None:
    if any(dim < 0 for dim in tensor.dims):
        raise LiftError(f"{where}: tensor '{tensor.name}' has a negative dimension: {list(tensor.dims)}.")
    if len(tensor.dims) > MOST_DIMENSIONS:
        raise LiftError(f"{where}: tensor '{tensor.name}' has {len(tensor.dims)} dimensions.")
    if math.prod(tensor.dims) > MOST_EXTERNAL_BYTES:
        raise LiftError(f"{where}: tensor '{tensor.name}' claims {math.prod(tensor.dims)} elements.")


def _external(tensor: onnx.TensorProto, path: Path) -> _Payload:
    """Return where a tensor's external bytes lie: in a file below the model's folder, never through a link."""
    entry = {item.key: item.value for item in tensor.external_data}
    location, name = entry.get("location", ""), str(tensor.name)
    folder = path.parent.resolve()
    side = folder / location
    inside = bool(location) and not Path(location).is_absolute() and ".." not in Path(location).parts
    if not inside or "\0" in location or side.resolve() != side:
        raise LiftError(f"'{path}': initializer '{name}' points to '{location}', which is not inside its folder.")
    if not side.is_file():
        raise LiftError(f"'{path}': external data '{location}' of initializer '{name}' do not exist.")
    size = side.stat().st_size
    try:
        start = int(entry.get("offset", 0))
        length = int(entry.get("length", size - start))
    except ValueError as error:
        raise LiftError(f"'{path}': initializer '{name}' has an offset or a length that is no number.") from error
    if start < 0 or length < 0 or start + length > size:
        raise LiftError(f"'{side}' is truncated: '{name}' ends at byte {start + length}, the file at {size}.")
    return _Payload(side, start, length, "length" in entry)


def array_of(tensor: onnx.TensorProto, where: str) -> Array:
    """Return the values of a tensor inside the protobuf.

    Raises: LiftError where its bytes do not fit its shape, or where they lie elsewhere.
    """
    _check_dims(tensor, where)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.HasField("segment"):
        raise LiftError(f"{where}: tensor '{tensor.name}' lies outside the file; only initializers may.")
    if tensor.data_type == onnx.TensorProto.STRING:
        texts = [item.decode("utf-8", "replace") for item in tensor.string_data]
        return _shaped(np.array(texts, dtype=np.str_), tensor, where)
    numpy_dtype(tensor.data_type)
    if tensor.data_type in PACKED or tensor.data_type in (27, 28):
        claim(tensor.dims)
    try:
        return _sound(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise LiftError(f"{where}: tensor '{tensor.name}' is damaged: {_first_line(error)}") from error


def sparse_array_of(sparse: onnx.SparseTensorProto, where: str) -> Array:
    """Return a sparse tensor in its full shape, zeros filled in; its indices are flat or `(values, dims)`."""
    values, indices = array_of(sparse.values, where), array_of(sparse.indices, where)
    dims = list(sparse.dims)
    if any(dim < 0 for dim in dims):
        raise LiftError(f"{where}: sparse tensor '{sparse.values.name}' has a negative dimension: {dims}.")
    claim(dims)
    dense = np.zeros(math.prod(dims), dtype=values.dtype)
    if indices.ndim == 2:
        indices = indices @ np.array([math.prod(dims[i + 1 :]) for i in range(len(dims))], dtype=np.int64)
    if indices.shape != values.shape or (indices.size and not 0 <= indices.min() <= indices.max() < dense.size):
        raise LiftError(f"{where}: sparse tensor '{sparse.values.name}' has indices that do not fit {dims}.")
    dense[indices] = values
    return dense.reshape(dims)


def _shaped(values: Array, tensor: onnx.TensorProto, where: str) -> Array:
    if values.size != math.prod(tensor.dims):
        raise LiftError(f"{where}: tensor '{tensor.name}' of shape {list(tensor.dims)} has {values.size} values.")
    return values.reshape(list(tensor.dims))


def _sound(values: Any) -> Array:
    """Return an array of one's own whose booleans are zeros and ones, whatever the bytes are."""
    if values.dtype == np.bool_:
        values = values.view(np.uint8) != 0
    found: Array = values if values.flags.writeable else np.array(values)
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
