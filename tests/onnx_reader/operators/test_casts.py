"""Element types: how eight-bit floats saturate, what stays on the host, and what data cannot become."""

import numpy as np
import pytest
import torch
from onnx import TensorProto
from rows import row, t

from whet.onnx_reader.operators.casts import converted
from whet.onnx_reader.values import NotRead


def test_floats_of_eight_bits_saturate_where_asked_to_and_are_nan_otherwise() -> None:
    x = t([1.0, 460.0, 1e6, -1e6])
    held = row("Cast", x, to=TensorProto.FLOAT8E4M3FN).float().tolist()
    assert held == [1.0, 448.0, 448.0, -448.0]
    lost = row("Cast", x, to=TensorProto.FLOAT8E4M3FN, saturate=0).float()
    assert lost[:2].tolist() == [1.0, 448.0] and lost[2:].isnan().all()


def test_known_values_and_data_give_the_same() -> None:
    x = np.array([1.7, -1.7, 300.0], np.float32)
    for code in (TensorProto.INT64, TensorProto.FLOAT16, TensorProto.BOOL):
        assert converted(x, code).tolist() == converted(torch.from_numpy(x), code).tolist()


def test_four_bits_stay_on_the_host() -> None:
    assert converted(np.array([7.0, -8.0]), TensorProto.INT4).dtype.name == "int4"
    with pytest.raises(NotRead, match=r"element type INT4 of data.*torch cannot convert to"):
        converted(t([7.0]), TensorProto.INT4)


def test_strings_are_refused_both_ways() -> None:
    with pytest.raises(NotRead, match="element type STRING is not read"):
        converted(t([7.0]), TensorProto.STRING)
    with pytest.raises(NotRead, match="strings are not read"):
        converted(np.array(["1"]), TensorProto.FLOAT)


def test_a_type_may_be_that_of_another_value() -> None:
    assert row("CastLike", t([1.9]), t([1], dtype=torch.int32)).dtype == torch.int32
    assert row("CastLike", np.array([1.9]), np.array([1], np.int8)).dtype == np.int8


def test_the_same_bits_under_another_type() -> None:
    assert row("BitCast", t([1.0]), to=TensorProto.INT32).tolist() == [0x3F800000]
    assert row("BitCast", np.array([1.0], np.float32), to=TensorProto.UINT32).tolist() == [0x3F800000]
    with pytest.raises(NotRead, match="from float32 to int64, of another size"):
        row("BitCast", np.array([1.0], np.float32), to=TensorProto.INT64)
