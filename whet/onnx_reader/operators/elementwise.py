"""Rows of the operators that work element by element: arithmetic, comparisons, logic, bits, rounding."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import UNSIGNED, Array, Value, at, is_host, settled, tensor

Operand = Any
"""A tensor, or a Python number that stands for a constant of one element."""


def wide(run: Callable[..., Tensor], *values: Operand) -> Tensor:
    """Run in int64 what torch cannot compute with: unsigned integers of 16 bits and more.

    Of the shape that `run` gives.
    """
    first = next(v for v in values if isinstance(v, Tensor))
    if not any(isinstance(v, Tensor) and v.dtype in UNSIGNED for v in values):
        return run(*values)
    result = run(*(v.to(torch.int64) if isinstance(v, Tensor) and v.dtype in UNSIGNED else v for v in values))
    narrow = first.dtype in UNSIGNED and result.dtype == torch.int64
    return result.to(first.dtype) if narrow else result


def number(value: Value, like: Tensor) -> Operand:
    """Return a constant of one element as a Python number, which keeps the other operand's type; else a tensor.

    A scalar, or the shape of the value.
    """
    if is_host(value) and value.size == 1 and value.ndim <= like.dim() and value.dtype.kind in "iuf":
        return value.item()
    return tensor(value)


def pair(left: Value, right: Value) -> tuple[Operand, Operand]:
    """Return two operands, at least one of them a tensor."""
    if isinstance(left, Tensor):
        return left, number(right, left)
    if isinstance(right, Tensor):
        return number(left, right), right
    return tensor(left), tensor(right)


def unary(run: Callable[[Tensor], Tensor], on_host: Callable[[Any], Any] | None = None) -> Row:
    """A function of one argument; `on_host` is numpy's for it, where shapes are computed with it."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        value = x[0]
        if on_host is not None and is_host(value) and value.dtype.kind in "biuf":
            with np.errstate(all="ignore"):
                return np.asarray(on_host(value)).astype(value.dtype)
        if is_host(value) and value.dtype == object and on_host is np.negative:
            return settled(-value)
        return wide(run, tensor(value))

    return Row(handler)


def binary(run: Callable[[Operand, Operand], Tensor], on_host: Callable[[Any, Any], Any]) -> Row:
    """A function of two arguments whose shapes broadcast; the result has the type of the first, or is boolean."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        left, right = x[0], x[1]
        if is_host(left) and is_host(right):
            with np.errstate(all="ignore"):
                result = settled(on_host(left, right))
            same = result.dtype in (np.bool_, object) or left.dtype == object
            return result if same else result.astype(left.dtype)
        return wide(run, *pair(left, right))

    return Row(handler)


def tensors(run: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Operand, Operand], Tensor]:
    """Return a function of operands for one of torch's that takes no numbers: those become scalar tensors."""

    def apply(left: Operand, right: Operand) -> Tensor:
        like = left if isinstance(left, Tensor) else right
        return run(*(v if isinstance(v, Tensor) else torch.full((), v, dtype=like.dtype) for v in (left, right)))

    return apply


def divide(left: Operand, right: Operand) -> Tensor:
    """Return a quotient; of integers the one towards zero. Shapes broadcast."""
    like = left if isinstance(left, Tensor) else right
    if like.is_floating_point() or like.is_complex():
        result: Tensor = operator.truediv(left, right)
        return result
    return tensors(lambda a, b: torch.div(a, b, rounding_mode="trunc"))(left, right)


def divide_on_host(left: Array, right: Array) -> Any:
    """Integers are divided towards zero, as the standard wants it; sizes, also symbolic ones, are never negative.

    Shapes broadcast.
    """
    if left.dtype == object or right.dtype == object:
        return np.floor_divide(left, right)
    if left.dtype.kind not in "iu":
        return np.divide(left, right)
    quotient = np.abs(left) // np.abs(right)
    return np.where((left < 0) != (right < 0), -quotient, quotient) if left.dtype.kind == "i" else quotient


def power(left: Operand, right: Operand) -> Tensor:
    """Return left to the power of right, in the type of left. Shapes broadcast."""
    result: Tensor = operator.pow(left, right)
    return result.to(left.dtype) if isinstance(left, Tensor) else result


def modulo(call: Call, x: list[Value], a: Attributes) -> Value:
    """The remainder with the sign of the divisor, or with `fmod` that of the dividend."""
    if is_host(x[0]) and is_host(x[1]):
        with np.errstate(all="ignore"):
            return settled((np.fmod if a.get("fmod") else np.mod)(x[0], x[1]))
    return wide(tensors(torch.fmod if a.get("fmod") else torch.remainder), *pair(x[0], x[1]))


def bit_shift(call: Call, x: list[Value], a: Attributes) -> Value:
    """Shifts by less than nothing or by all bits leave nothing, or the sign."""
    value, amount = tensor(x[0]), tensor(x[1])
    bits = torch.iinfo(value.dtype).bits
    long, by = value.to(torch.int64), amount.to(torch.int64)
    inside = (by >= 0) & (by < bits)
    by = torch.where(inside, by, 0)
    if choice(a, "direction", "RIGHT", "LEFT") == "LEFT":
        return torch.where(inside, torch.bitwise_left_shift(long, by), 0).to(value.dtype)
    kept = torch.bitwise_right_shift(long, by)
    if value.dtype == torch.uint64:
        # int64 holds the same bits, and drags the highest of them along as a sign.
        kept = torch.where(by > 0, kept & (torch.bitwise_left_shift(torch.ones_like(by), 64 - by) - 1), kept)
    return torch.where(inside, kept, torch.where(long < 0, -1, 0) if value.dtype.is_signed else 0).to(value.dtype)


def fold(run: Callable[[Operand, Operand], Tensor], on_host: Callable[[Any, Any], Any], mean: bool = False) -> Row:
    """A function of any number of arguments whose shapes broadcast, taken two by two; `mean` divides by how many."""

    def handler(call: Call, x: list[Value], a: Attributes) -> Value:
        if all(map(is_host, x)) and not mean:
            result = x[0]
            for other in x[1:]:
                result = settled(on_host(result, other))
            return result
        total = tensor(x[0])
        for other in x[1:]:
            total = wide(run, total, tensor(other))
        return total / len(x) if mean else total

    return Row(handler)


def where(call: Call, x: list[Value], a: Attributes) -> Value:
    """Where: the second input where the condition holds, the third elsewhere; all three broadcast."""
    if all(map(is_host, x)):
        return settled(np.where(x[0].astype(bool), x[1], x[2]))
    chosen = tensor(x[0])
    if isinstance(x[1], Tensor) or isinstance(x[2], Tensor):
        left, right = pair(x[1], x[2])
    else:
        left, right = tensor(x[1]), tensor(x[2])
    return wide(lambda a, b: torch.where(chosen, a, b), left, right)


def clip(call: Call, x: list[Value], a: Attributes) -> Value:
    """min(max(x, low), high); without bounds, x."""
    low = at(x, 1) if len(x) > 1 else a.get("min")
    high = at(x, 2) if len(x) > 2 else a.get("max")
    if is_host(x[0]) and not any(isinstance(bound, Tensor) for bound in (low, high)):
        raised = x[0] if low is None else np.maximum(x[0], low)
        return settled(raised if high is None else np.minimum(raised, high))
    value = tensor(x[0])
    bounds = [number(b, value) if is_host(b) or isinstance(b, Tensor) else b for b in (low, high)]
    if bounds[0] is not None:
        value = wide(tensors(torch.maximum) if isinstance(bounds[0], Tensor) else torch.clamp_min, value, bounds[0])
    if bounds[1] is not None:
        value = wide(tensors(torch.minimum) if isinstance(bounds[1], Tensor) else torch.clamp_max, value, bounds[1])
    return value


def is_inf(call: Call, x: list[Value], a: Attributes) -> Value:
    """IsInf: infinities of the signs that are asked for."""
    value = tensor(x[0])
    found = torch.zeros_like(value, dtype=torch.bool)
    if a.get("detect_positive", 1):
        found = found | (value == math.inf)
    return found | (value == -math.inf) if a.get("detect_negative", 1) else found


def same(call: Call, x: list[Value], a: Attributes) -> Value:
    """Identity: the input itself."""
    return x[0]


BITWISE = {
    "BitwiseAnd": (torch.bitwise_and, np.bitwise_and),
    "BitwiseOr": (torch.bitwise_or, np.bitwise_or),
    "BitwiseXor": (torch.bitwise_xor, np.bitwise_xor),
    "And": (torch.logical_and, np.logical_and),
    "Or": (torch.logical_or, np.logical_or),
    "Xor": (torch.logical_xor, np.logical_xor),
}

ROWS: Rows = {
    "Abs": unary(torch.abs, np.abs),
    "Neg": unary(torch.neg, np.negative),
    "Sqrt": unary(torch.sqrt, np.sqrt),
    "Ceil": unary(torch.ceil, np.ceil),
    "Floor": unary(torch.floor, np.floor),
    "Round": unary(torch.round, np.round),
    "Sign": unary(torch.sign, np.sign),
    "Not": unary(torch.logical_not, np.logical_not),
    "Exp": unary(torch.exp),
    "Log": unary(torch.log),
    "Reciprocal": unary(torch.reciprocal),
    "Erf": unary(torch.erf),
    "Sin": unary(torch.sin),
    "Cos": unary(torch.cos),
    "Tan": unary(torch.tan),
    "Asin": unary(torch.asin),
    "Acos": unary(torch.acos),
    "Atan": unary(torch.atan),
    "Sinh": unary(torch.sinh),
    "Cosh": unary(torch.cosh),
    "Asinh": unary(torch.asinh),
    "Acosh": unary(torch.acosh),
    "Atanh": unary(torch.atanh),
    "BitwiseNot": unary(torch.bitwise_not),
    "IsNaN": Row(lambda call, x, a: torch.isnan(tensor(x[0]))),
    "IsInf": Row(is_inf),
    "Identity": Row(same),
    "Add": binary(operator.add, np.add),
    "Sub": binary(operator.sub, np.subtract),
    "Mul": binary(operator.mul, np.multiply),
    "Div": binary(divide, divide_on_host),
    "Pow": binary(power, np.power),
    "Equal": binary(operator.eq, np.equal),
    "Less": binary(operator.lt, np.less),
    "Greater": binary(operator.gt, np.greater),
    "LessOrEqual": binary(operator.le, np.less_equal),
    "GreaterOrEqual": binary(operator.ge, np.greater_equal),
    **{name: binary(tensors(run), on_host) for name, (run, on_host) in BITWISE.items()},
    "Mod": Row(modulo),
    "BitShift": Row(bit_shift),
    "Sum": fold(operator.add, np.add),
    "Mean": fold(operator.add, np.add, mean=True),
    "Max": fold(torch.maximum, np.maximum),
    "Min": fold(torch.minimum, np.minimum),
    "Where": Row(where),
    "Clip": Row(clip),
}
