"""Values: known on the host or data in tensors; types that only one side has cross over as bits or not at all."""

import ml_dtypes
import numpy as np
import pytest
import torch
from onnx import TensorProto

from whet.core.errors import LiftError
from whet.onnx_reader import values
from whet.onnx_reader.values import DependsOnData, NotRead


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.float16, bool]
)
def test_there_and_back_the_bits_are_the_same(dtype: object) -> None:
    x = np.array([0.0, 1.0, -2.0]).astype(dtype)  # type: ignore[call-overload]
    back = values.array(values.tensor(x))
    assert back.dtype == x.dtype and back.tobytes() == x.tobytes()


def test_memory_is_shared_where_it_can_be() -> None:
    x = np.arange(3.0)
    values.tensor(x)[0] = 7
    assert x[0] == 7
    x.flags.writeable = False
    values.tensor(x)[0] = 9
    assert x[0] == 7


def test_types_without_a_tensor_and_what_is_no_value_are_named() -> None:
    with pytest.raises(NotRead, match="values of type int4 cannot be tensors"):
        values.tensor(np.array([1]).astype(ml_dtypes.int4))
    for value, kind in ((None, "an empty optional"), ([], "a sequence"), ("x", "str")):
        with pytest.raises(LiftError, match=f"{kind} stands where a tensor is needed"):
            values.tensor(value)
    with pytest.raises(NotRead, match="element type STRING is not read"):
        values.numpy_dtype(TensorProto.STRING)
    assert values.type_name(999) == "number 999" and values.numpy_dtype(TensorProto.INT4).name == "int4"


def test_numbers_of_data_cannot_be_had() -> None:
    assert values.ints(np.array([[1.0, 2.0]])) == [1, 2] and values.scalar(np.array(3)) == 3
    with pytest.raises(DependsOnData, match="depends on the network's input"):
        values.numbers(torch.ones(1))
    with pytest.raises(LiftError, match="needs one number; got 2"):
        values.scalar(np.array([1, 2]))
    with pytest.raises(LiftError, match="needs numbers; got list"):
        values.numbers([])


def test_what_numpy_gives_is_an_array_again() -> None:
    assert values.settled(np.float32(1.0)).shape == () and values.settled(None) is None
    boxed = np.empty(2, object)
    boxed[:] = [1, 2]
    assert values.is_symbolic(boxed) and values.settled(boxed).dtype == np.int64
    assert values.host([1, 2, 3, 4], (2, 2)).tolist() == [[1, 2], [3, 4]]
    assert values.on_host([torch.ones(1), None])[0].tolist() == [1.0]
    assert values.at([1], 1) is None and values.optional_tensor([None], 0) is None


def test_a_tensor_that_no_network_has_is_refused() -> None:
    values.claim([1 << 20, 100])
    with pytest.raises(LiftError, match=f"would make a tensor of {1 << 30} elements; at most {values.MOST_ELEMENTS}"):
        values.claim([1 << 20, 1 << 10])
