"""Rows of the operators that change element types.

Types that torch lacks (integers and floats of fewer than 8 bits) exist on the host alone, as arrays of `ml_dtypes`:
constants are converted there, data cannot be.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import (
    CODES,
    DTYPES,
    FLOATS8,
    Array,
    NotRead,
    Value,
    is_host,
    numpy_dtype,
    settled,
    tensor,
    type_name,
)

FLOATING = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
WHOLE = (TensorProto.INT64, TensorProto.INT32)

MOST_E4M3FN = 464.0
"""Halfway between the largest float of this type and what would come next: above it there is no number."""


def converted(value: Value, code: int, saturate: bool = True, rounding: str = "up") -> Value:
    """Return a value in another element type; floats of 8 bits saturate where asked to."""
    if code == TensorProto.STRING:
        raise NotRead("element type STRING is not read")
    if is_host(value):
        return _symbolic(value, code) if value.dtype == object else _on_host(value, code, saturate, rounding)
    data = tensor(value)
    if code not in DTYPES or code == TensorProto.FLOAT8E8M0:
        raise NotRead(f"element type {type_name(code)} of data, which torch cannot convert to, is not read")
    dtype = DTYPES[code]
    if dtype in FLOATS8 and saturate and data.is_floating_point():
        limit = torch.finfo(dtype).max
        return data.float().clamp(-limit, limit).to(dtype)
    if dtype == torch.float8_e4m3fn and data.is_floating_point():
        return data.float().masked_fill(data.abs() > MOST_E4M3FN, math.nan).to(dtype)
    return data.to(dtype)


def _on_host(value: Array, code: int, saturate: bool, rounding: str) -> Array:
    dtype = numpy_dtype(code)
    if value.dtype.kind == "U":
        raise NotRead("strings are not read")
    with np.errstate(all="ignore"):
        if code == TensorProto.FLOAT8E8M0:
            found: Array = numpy_helper.to_float8e8m0(value.astype(np.float32), saturate, rounding)
            return found
        if saturate and DTYPES.get(code) in FLOATS8:
            limited: Array = numpy_helper.saturate_cast(value, dtype)
            return limited
        return value.astype(dtype)


def _symbolic(value: Array, code: int) -> Value:
    """Convert sizes that are known as symbols: as floats they stay symbols, as anything else they become data."""
    if code in WHOLE:
        return settled(_each(value, torch.sym_int))
    if code in FLOATING:
        return _each(value, torch.sym_float)
    return tensor(value).to(DTYPES[code])


def _each(value: Array, run: Any) -> Array:
    made = np.empty(value.size, dtype=object)
    for position, item in enumerate(value.flat):
        made[position] = run(item)
    return made.reshape(value.shape)


def cast(call: Call, x: list[Value], a: Attributes) -> Value:
    """Cast: to the type of attribute `to`."""
    return converted(x[0], a["to"], bool(a.get("saturate", 1)), a.get("round_mode", "up"))


def cast_like(call: Call, x: list[Value], a: Attributes) -> Value:
    """CastLike: to the type of the second input."""
    like = x[1]
    code = CODES[like.dtype] if isinstance(like, Tensor) else helper.np_dtype_to_tensor_dtype(like.dtype)
    return converted(x[0], int(code), bool(a.get("saturate", 1)), a.get("round_mode", "up"))


def bit_cast(call: Call, x: list[Value], a: Attributes) -> Value:
    """The same bits under another type of the same size."""
    if is_host(x[0]):
        dtype = numpy_dtype(a["to"])
        if dtype.itemsize != x[0].dtype.itemsize:
            raise call.not_read(f"a bit cast from {x[0].dtype.name} to {dtype.name}, of another size,")
        return np.array(x[0], order="C").view(dtype)
    data = tensor(x[0])
    if a["to"] not in DTYPES or DTYPES[a["to"]].itemsize != data.dtype.itemsize:
        raise call.not_read(f"a bit cast of data to {type_name(a['to'])}")
    return data.view(DTYPES[a["to"]])


ROWS: Rows = {
    "Cast": Row(cast),
    "CastLike": Row(cast_like),
    "BitCast": Row(bit_cast),
}
