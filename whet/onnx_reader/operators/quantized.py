"""Rows of the quantised operators, computed as they are: on integers, rounded as the standard says.

Most never run: `unquantize` takes them out of the graph of a quantised network. They stay where integers go in or
come out of the network itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import Tensor

from whet.onnx_reader.operators.casts import converted
from whet.onnx_reader.operators.convolution import convolved
from whet.onnx_reader.operators.create import dtype_of
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import (
    CODES,
    FLOATS8,
    UNSIGNED,
    Array,
    Value,
    at,
    is_host,
    numpy_dtype,
    optional_tensor,
    tensor,
)

UINT8 = 2
LIMITS = {
    "int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3),
}  # fmt: skip
"""Ranges of the integers that live on the host alone; numpy knows the others."""


def spread(values: Any, shape: Any, axis: int, block: int) -> Any:
    """Shape scales or zero points for broadcasting: one for all, one a slice of `axis`, or one a block along it.

    Works on arrays and on tensors alike.
    """
    count = values.size if isinstance(values, np.ndarray) else values.numel()
    if values.ndim <= 1 and count == 1:
        return values.reshape(())
    axis = axis % len(shape)
    if not block:
        return values.reshape([-1 if d == axis else 1 for d in range(len(shape))])
    if isinstance(values, np.ndarray):
        return np.repeat(values, block, axis).take(range(shape[axis]), axis)
    return values.repeat_interleave(block, axis).narrow(axis, 0, shape[axis])


def limits(dtype: Any) -> tuple[int, int]:
    """Return the lowest and the highest value of an integer type.

    >>> limits(np.dtype(np.uint8))
    (0, 255)
    """
    if dtype.name in LIMITS:
        return LIMITS[dtype.name]
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


# -- to integers and back ------------------------------------------------------------------------------------------


def quantize(call: Call, x: list[Value], a: Attributes) -> Value:
    """round(v / scale) + zero point, limited to the type; to a float of 8 bits or fewer, v / scale."""
    code = a.get("output_dtype") or UINT8
    if at(x, 2) is not None:
        code = _code(x[2].dtype) if is_host(x[2]) else CODES[x[2].dtype]
    axis, block = a.get("axis", 1), a.get("block_size", 0)
    if is_host(x[0]) and is_host(x[1]):
        return _quantized_on_host(x, code, axis, block, a)
    value, scale = tensor(x[0]), tensor(x[1])
    precision = dtype_of(a["precision"]) if a.get("precision") else value.dtype
    divided = value.to(precision) / spread(scale, value.shape, axis, block).to(precision)
    if dtype_of(code) in FLOATS8:
        return converted(divided, code, bool(a.get("saturate", 1)))
    zero = 0 if at(x, 2) is None else spread(tensor(x[2]).to(torch.int32), value.shape, axis, block)
    low, high = limits(numpy_dtype(code))
    steps = torch.round(divided.float()) + zero
    return steps.clamp(low, high).to(torch.int32).to(dtype_of(code))


def _code(dtype: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def _quantized_on_host(x: list[Value], code: int, axis: int, block: int, a: Attributes) -> Array:
    precision = numpy_dtype(a["precision"]) if a.get("precision") else x[0].dtype
    dtype = numpy_dtype(code)
    with np.errstate(all="ignore"):
        divided = x[0].astype(precision) / spread(x[1], x[0].shape, axis, block).astype(precision)
        if dtype.kind not in "iu" and dtype.name not in LIMITS:
            found: Array = converted(np.asarray(divided), code, bool(a.get("saturate", 1)))
            return found
        steps = np.rint(divided.astype(np.float32))
        if at(x, 2) is not None:
            steps = steps + spread(x[2].astype(np.float32), x[0].shape, axis, block)
        return np.asarray(steps).clip(*limits(dtype)).astype(np.int32).astype(dtype)


def dequantize(call: Call, x: list[Value], a: Attributes) -> Value:
    """(v - zero point) x scale, in the type of the scale."""
    axis, block = a.get("axis", 1), a.get("block_size", 0)
    if all(is_host(v) for v in x if v is not None):
        return dequantized(x[0], x[1], at(x, 2), axis, block, a.get("output_dtype", 0))
    value, scale = tensor(x[0]), tensor(x[1])
    code = a.get("output_dtype", 0)
    steps = value.to(torch.float32)
    if at(x, 2) is not None:
        steps = steps - spread(tensor(x[2]).to(torch.float32), value.shape, axis, block)
    found = steps * spread(scale.to(torch.float32), value.shape, axis, block)
    return found.to(dtype_of(code) if code else scale.dtype)


def dequantized(value: Array, scale: Array, zero: Array | None, axis: int, block: int = 0, code: int = 0) -> Array:
    """Return the numbers that integers on the host stand for. Of the shape of the integers."""
    dtype = numpy_dtype(code) if code else scale.dtype
    # int32 accumulators hold more digits than float32 has.
    exact = np.float64 if value.dtype.itemsize >= 4 and value.dtype.kind in "iu" else np.float32
    steps = value.astype(exact)
    if zero is not None:
        steps = steps - spread(zero.astype(exact), value.shape, axis, block)
    found: Array = np.asarray(steps * spread(scale.astype(exact), value.shape, axis, block)).astype(dtype)
    return found


def quantize_dynamically(call: Call, x: list[Value], a: Attributes) -> Value:
    """To 8 bits, with the scale and the zero point that just cover the values and zero."""
    value = tensor(x[0])
    zero = torch.zeros((), dtype=value.dtype)
    high, low = torch.maximum(value.max(), zero), torch.minimum(value.min(), zero)
    scale = (high - low) / 255
    point = torch.round((0 - low) / scale).clamp(0, 255)
    return (torch.round(value / scale) + point).clamp(0, 255).to(torch.uint8), scale, point.to(torch.uint8)


# -- computing with integers ---------------------------------------------------------------------------------------


def centred(value: Value, point: Value, axis: int = 1) -> Tensor:
    """Return integers less their zero point, exactly, as float64. Of the shape of the integers."""
    exact = tensor(value).to(torch.float64)
    if point is None:
        return exact
    zero = tensor(point).to(torch.float64)
    return exact - (zero if zero.dim() > 1 else spread(zero, exact.shape, axis, 0))


def requantized(value: Tensor, scale: Tensor, point: Value, like: Value) -> Tensor:
    """Round to the type of the zero point, or of `like` where there is none. Of the shape of the value."""
    kind = tensor(like if point is None else point).dtype
    info = torch.iinfo(kind)
    steps = torch.round(value / scale) + (0 if point is None else tensor(point).to(torch.float64))
    whole = steps.clamp(info.min, info.max)
    return whole.to(torch.int64).to(kind) if kind in UNSIGNED else whole.to(kind)


def multiply_integers(call: Call, x: list[Value], a: Attributes) -> Value:
    """MatMulInteger: (a - zero point) (b - zero point), exactly, in int32."""
    left, right = centred(x[0], at(x, 2), -2), centred(x[1], at(x, 3), -1)
    return torch.matmul(left, right).to(torch.int32)


def convolve_integers(call: Call, x: list[Value], a: Attributes) -> Value:
    """ConvInteger: the convolution of integers less their zero points, exactly, in int32."""
    left, weight = centred(x[0], at(x, 2)), centred(x[1], at(x, 3), 0)
    return convolved(call, left, weight, None, a).to(torch.int32)


def convolve_quantized(call: Call, x: list[Value], a: Attributes) -> Value:
    """QLinearConv: that convolution times both scales, plus the bias, rounded to the scale of the output."""
    inside, weights, outside = (tensor(x[i]).to(torch.float64) for i in (1, 4, 6))
    left, weight = centred(x[0], x[2]), centred(x[3], x[5], 0)
    bias = optional_tensor(x, 8)
    out = convolved(call, left, weight, None if bias is None else bias.to(torch.float64), a)
    scale = (inside * weights).reshape(1, -1, *[1] * (out.dim() - 2))
    return requantized(out * scale, outside, at(x, 7), x[0])


def multiply_quantized(call: Call, x: list[Value], a: Attributes) -> Value:
    """QLinearMatMul: that product times both scales, rounded to the scale of the output."""
    left, right = centred(x[0], x[2], -2), centred(x[3], x[5], -1)
    scale = tensor(x[1]).to(torch.float64) * tensor(x[4]).to(torch.float64)
    return requantized(torch.matmul(left, right) * scale, tensor(x[6]).to(torch.float64), at(x, 7), x[0])


ROWS: Rows = {
    "QuantizeLinear": Row(quantize, known=(2,)),
    "DequantizeLinear": Row(dequantize),
    "DynamicQuantizeLinear": Row(quantize_dynamically),
    "MatMulInteger": Row(multiply_integers),
    "ConvInteger": Row(convolve_integers),
    "QLinearConv": Row(convolve_quantized),
    "QLinearMatMul": Row(multiply_quantized),
}
