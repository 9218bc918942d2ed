"""Rows of sequences, which are lists here, and of optionals, which are a value or None."""

from __future__ import annotations

import math

import numpy as np
import torch

from whet.core.errors import LiftError
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, at, host, ints, is_host, scalar, settled, tensor


def items(value: Value) -> list[Value]:
    """Return the items of a sequence. Raises: LiftError for what is none."""
    if not isinstance(value, list):
        raise LiftError("needs a sequence.")
    return value


def position(value: Value, count: int) -> int:
    """Return a place in a sequence, negative ones counted from its end."""
    index = int(scalar(value))
    if not -count <= index <= count:
        raise LiftError(f"asks for place {index} of a sequence of {count}.")
    return index + count if index < 0 else index


def insert(call: Call, x: list[Value], a: Attributes) -> Value:
    """SequenceInsert: an item put at a place, by default at the end."""
    listed = items(x[0])
    place = len(listed) if at(x, 2) is None else position(x[2], len(listed))
    return [*listed[:place], x[1], *listed[place:]]


def erase(call: Call, x: list[Value], a: Attributes) -> Value:
    """SequenceErase: the sequence without the item at a place, by default the last."""
    listed = items(x[0])
    place = len(listed) - 1 if at(x, 1) is None else position(x[1], len(listed))
    return [item for i, item in enumerate(listed) if i != place]


def pick(call: Call, x: list[Value], a: Attributes) -> Value:
    """SequenceAt: the item at a place."""
    listed = items(x[0])
    return listed[position(x[1], len(listed))]


def concat(call: Call, x: list[Value], a: Attributes) -> Value:
    """ConcatFromSequence: the items end to end along `axis`, or along a new axis."""
    listed, axis = items(x[0]), a["axis"]
    if all(map(is_host, listed)):
        return settled((np.stack if a.get("new_axis") else np.concatenate)(listed, axis))
    parts = [tensor(v) for v in listed]
    return torch.stack(parts, axis) if a.get("new_axis") else torch.cat(parts, axis)


def split(call: Call, x: list[Value], a: Attributes) -> Value:
    """Into pieces of one element, of one size, or of the sizes given."""
    value, axis = x[0], a.get("axis", 0)
    total = int(value.shape[axis])
    if at(x, 1) is None:
        sizes = [1] * total
    elif x[1].ndim == 0:
        size = int(scalar(x[1]))
        sizes = [min(size, total - i * size) for i in range(math.ceil(total / size))]
    else:
        sizes = ints(x[1])
    parts = np.split(value, np.cumsum(sizes)[:-1], axis) if is_host(value) else list(value.split(sizes, axis))
    if at(x, 1) is None and not a.get("keepdims", 1):
        return [part.squeeze(axis) for part in parts]
    return parts


ROWS: Rows = {
    "SequenceConstruct": Row(lambda call, x, a: list(x)),
    "SequenceEmpty": Row(lambda call, x, a: []),
    "SequenceInsert": Row(insert, known=(2,)),
    "SequenceErase": Row(erase, known=(1,)),
    "SequenceAt": Row(pick, known=(1,)),
    "SequenceLength": Row(lambda call, x, a: host([len(items(x[0]))], ())),
    "ConcatFromSequence": Row(concat),
    "SplitToSequence": Row(split, known=(1,)),
    "Optional": Row(lambda call, x, a: at(x, 0)),
    "OptionalGetElement": Row(lambda call, x, a: x[0]),
    "OptionalHasElement": Row(lambda call, x, a: np.array(at(x, 0) is not None)),
}
