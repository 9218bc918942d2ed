"""Where the bytes of an ONNX file's tensors are: its wire format read as far as that, nothing decoded or written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from whet.core.errors import ArtifactError

GRAPH, INITIALIZER, NODE, ATTRIBUTE, ATTRIBUTE_TENSOR = 7, 5, 1, 5, 5
DIMS, DATA_TYPE, NAME, RAW_DATA, EXTERNAL_DATA = 1, 2, 8, 9, 13
VARINT, EIGHT_BYTES, MESSAGE, FOUR_BYTES = 0, 1, 2, 5


class Tensor(NamedTuple):
    """A tensor of a file, and where its values are: `data[start:stop]`; `kind` is a `TensorProto.DataType`."""

    name: str
    kind: int
    dims: tuple[int, ...]
    start: int
    stop: int

    @property
    def numel(self) -> int:
        """How many values there are."""
        return math.prod(self.dims)


class Field(NamedTuple):
    """A field of a message: its number, a number or where its bytes are."""

    number: int
    value: int
    start: int
    stop: int


def tensors(data: bytes, file: str) -> list[Tensor]:
    """Return the initializers and constants of an ONNX file that are stored as raw bytes, in the file's order.

    `dims` are as the file has them, `(out, in, ...)` of a layer.

    Raises: ArtifactError for what is no protobuf message, and where weights lie in another file.
    """
    found = []
    try:
        for graph in fields(data, 0, len(data)):
            if graph.number != GRAPH:
                continue
            for part in fields(data, graph.start, graph.stop):
                inside = [part] if part.number == INITIALIZER else _constants(data, part) if part.number == NODE else []
                found += [tensor for message in inside if (tensor := _tensor(data, message, file)) is not None]
    except (ValueError, IndexError) as problem:
        raise ArtifactError(f"'{file}' is no ONNX file: {problem}.") from None
    return sorted(found, key=lambda tensor: tensor.start)


def _constants(data: bytes, node: Field) -> Iterator[Field]:
    for attribute in fields(data, node.start, node.stop):
        if attribute.number == ATTRIBUTE:
            inside = fields(data, attribute.start, attribute.stop)
            yield from (field for field in inside if field.number == ATTRIBUTE_TENSOR and field.stop > field.start)


def _tensor(data: bytes, message: Field, file: str) -> Tensor | None:
    name, kind, dims, raw = "", 0, list[int](), None
    for field in fields(data, message.start, message.stop):
        if field.number == DIMS:
            dims += [field.value] if field.stop == 0 else _packed(data, field)
        elif field.number == DATA_TYPE:
            kind = field.value
        elif field.number == NAME:
            name = data[field.start : field.stop].decode("utf-8")
        elif field.number == RAW_DATA:
            raw = field
        elif field.number == EXTERNAL_DATA:
            raise ArtifactError(f"'{file}' keeps the weights of '{name}' in another file: save it with them inside.")
    return None if raw is None else Tensor(name, kind, tuple(dims), raw.start, raw.stop)


def _packed(data: bytes, field: Field) -> list[int]:
    found, at = [], field.start
    while at < field.stop:
        value, at = varint(data, at, field.stop)
        found.append(value)
    return found


def fields(data: bytes, at: int, stop: int) -> Iterator[Field]:
    """Yield the fields of a message, `data[at:stop]`; those of a number have no bytes.

    Raises: ValueError for what is no message.
    """
    while at < stop:
        tag, at = varint(data, at, stop)
        wire, value = tag & 7, 0
        if wire == VARINT:
            value, at = varint(data, at, stop)
            yield Field(tag >> 3, value, 0, 0)
            continue
        if wire == MESSAGE:
            size, at = varint(data, at, stop)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if wire == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown wire type {wire} at byte {at}")
        if size > stop - at:
            raise ValueError(f"a field of {size} bytes at byte {at}, where {stop - at} are left")
        yield Field(tag >> 3, value, at, at + size)
        at += size


def varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where the next one begins.

    Raises: ValueError where it goes beyond `stop` or 64 bits.

    >>> varint(bytes([0b10010110, 1]), 0, 2)
    (150, 2)
    """
    value = 0
    for i in range(10):
        if at + i >= stop:
            raise ValueError(f"a number that ends beyond byte {stop}")
        byte = data[at + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError(f"a number of more than 64 bits at byte {at}")


def varint_bytes(value: int) -> bytes:
    """Return what `varint` reads.

    >>> varint_bytes(150).hex()
    '9601'
    """
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
