"""Values of an ONNX graph: arrays on the host for what is known, tensors for data; and moving between the two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from whet.core.errors import LiftError

Value = Any
"""An array (known, on the host; of `object`s where symbolic sizes are among them), a tensor (data), a list of values
(a sequence), or None (absent, or an empty optional)."""

Array = NDArray[Any]

MOST_ELEMENTS = 1 << 27
"""No operator is allowed to make a tensor of more elements out of sizes that stand in the file."""


class NotRead(LiftError):
    """An operator, a type or an attribute that the reader does not know."""


class DependsOnData(LiftError):
    """A value that must be known while the network is traced depends on its input."""


DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: torch.float8_e8m0fnu,
}
"""Element types that torch has; integers of fewer than 8 bits and floats of fewer than 8 stay on the host."""

CODES: dict[torch.dtype, int] = {dtype: code for code, dtype in DTYPES.items()}

FLOATS8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)

CARRIERS: dict[str, tuple[Any, torch.dtype, torch.dtype]] = {
    "bfloat16": (np.int16, torch.int16, torch.bfloat16),
    "float8_e4m3fn": (np.uint8, torch.uint8, torch.float8_e4m3fn),
    "float8_e4m3fnuz": (np.uint8, torch.uint8, torch.float8_e4m3fnuz),
    "float8_e5m2": (np.uint8, torch.uint8, torch.float8_e5m2),
    "float8_e5m2fnuz": (np.uint8, torch.uint8, torch.float8_e5m2fnuz),
    "float8_e8m0fnu": (np.uint8, torch.uint8, torch.float8_e8m0fnu),
}
"""Types that numpy and torch share only as bits: the numpy and the torch integer that carry them over."""

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
"""Types that torch can hold and convert but not compute with."""


def type_name(code: int) -> str:
    """Return the standard's name of an element type.

    >>> type_name(16)
    'BFLOAT16'
    """
    return str(TensorProto.DataType.Name(code)) if code in TensorProto.DataType.values() else f"number {code}"


def numpy_dtype(code: int) -> np.dtype[Any]:
    """Return the numpy type of an element type, one of `ml_dtypes` where numpy has none."""
    if code not in TensorProto.DataType.values() or code in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise NotRead(f"element type {type_name(code)} is not read.")
    found: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(code)
    return found


def is_host(value: Value) -> TypeGuard[Array]:
    """Say whether a value is known: an array on the host, of any shape."""
    return isinstance(value, np.ndarray)


def is_symbolic(value: Value) -> bool:
    """Say whether an array holds sizes that are known only as symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object


def fits_torch(value: Array) -> bool:
    """Say whether torch has the array's element type; its shape does not matter."""
    return value.dtype.name in CARRIERS or value.dtype.kind in "biufc"


def tensor(value: Value) -> Tensor:
    """Return a value as a tensor; symbolic sizes become a stack of scalars. Memory is shared where it can be."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        names = {type(None): "an empty optional", list: "a sequence"}
        kind = names.get(type(value), type(value).__name__)
        raise LiftError(f"{kind} stands where a tensor is needed.")
    if value.dtype == object:
        return _stacked(value)
    if not fits_torch(value):
        raise NotRead(f"values of type {value.dtype.name} cannot be tensors: torch has no such type.")
    if not (value.flags.c_contiguous and value.flags.writeable):
        value = np.array(value, order="C")
    if value.dtype.name in CARRIERS:
        carrier, _, dtype = CARRIERS[value.dtype.name]
        return torch.from_numpy(value.view(carrier)).view(dtype)
    return torch.from_numpy(value)


def _stacked(value: Array) -> Tensor:
    items = list(value.flatten())
    if not items:
        return torch.empty(value.shape, dtype=torch.int64)
    real = any(isinstance(i, float | torch.SymFloat) for i in items)
    dtype = torch.float32 if real else torch.int64
    return torch.stack([torch.scalar_tensor(i, dtype=dtype) for i in items]).reshape(value.shape)


def array(value: Tensor) -> Array:
    """Return a tensor's values on the host. Of the same shape."""
    plain = value.detach().contiguous()
    for name, (_, integer, dtype) in CARRIERS.items():
        if plain.dtype == dtype:
            code = CODES[dtype]
            found: Array = plain.view(integer).numpy().view(numpy_dtype(code))
            assert found.dtype.name == name
            return found
    result: Array = plain.numpy()
    return result


def on_host(value: Value) -> Value:
    """Return a value with every tensor in it as an array."""
    if isinstance(value, Tensor):
        return array(value)
    return [on_host(item) for item in value] if isinstance(value, list) else value


def settled(value: Value) -> Value:
    """Return what a numpy call gave as an array, of plain integers where no symbol is left in it."""
    if isinstance(value, Tensor | list) or value is None:
        return value
    if not isinstance(value, np.ndarray):
        value = np.asarray(value) if isinstance(value, np.generic | int | float | bool) else _boxed([value], ())
    if value.dtype == object and all(isinstance(item, int) for item in value.flat):
        return value.astype(np.int64)
    return value


def _boxed(items: Sequence[Any], shape: tuple[int, ...]) -> Array:
    made = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        made[position] = item
    return made.reshape(shape)


def host(items: Iterable[Any], shape: tuple[int, ...] | None = None) -> Array:
    """Return integers, symbolic ones among them, as an array.

    >>> host([2, 3])
    array([2, 3])
    """
    listed = list(items)
    shape = (len(listed),) if shape is None else shape
    if all(isinstance(item, int | np.integer) for item in listed):
        return np.array([int(item) for item in listed], dtype=np.int64).reshape(shape)
    return _boxed(listed, shape)


def numbers(value: Value) -> list[Any]:
    """Return the numbers of a known value, in order; of data they cannot be had."""
    if isinstance(value, Tensor):
        raise DependsOnData("needs a value that depends on the network's input")
    if not isinstance(value, np.ndarray):
        raise LiftError(f"needs numbers; got {type(value).__name__}.")
    return list(value.flatten()) if value.dtype == object else value.flatten().tolist()


def ints(value: Value) -> list[Any]:
    """Return a known value as a list of integers, symbolic ones among them."""
    return [item if isinstance(item, torch.SymInt) else int(item) for item in numbers(value)]


def scalar(value: Value) -> Any:
    """Return a known value's only number."""
    found = numbers(value)
    if len(found) != 1:
        raise LiftError(f"needs one number; got {len(found)}.")
    return found[0]


def at(values: Sequence[Value], position: int) -> Value:
    """Return the input at a position, None where it is absent."""
    return values[position] if position < len(values) else None


def optional_tensor(values: Sequence[Value], position: int) -> Tensor | None:
    """Return the input at a position as a tensor of its own shape, None where it is absent."""
    value = at(values, position)
    return None if value is None else tensor(value)


def claim(sizes: Iterable[Any]) -> None:
    """Raise `LiftError` where literal sizes ask for a tensor that no network has."""
    count = math.prod(size for size in sizes if isinstance(size, int))
    if abs(count) > MOST_ELEMENTS:
        raise LiftError(f"would make a tensor of {count} elements; at most {MOST_ELEMENTS} are allowed.")
