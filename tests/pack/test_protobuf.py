"""The bytes of a file's tensors are where they are said to be, and nothing that is no ONNX file is taken for one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from packable import model

from whet.core.errors import ArtifactError
from whet.pack.protobuf import fields, tensors, varint, varint_bytes


def test_bytes_of_initializers_and_constants_are_found() -> None:
    values = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(300, dtype=np.int8).reshape(300)}
    proto = onnx.load_model_from_string(model(**values))
    constant = numpy_helper.from_array(np.ones(5, np.float32), "c")
    proto.graph.node.append(helper.make_node("Constant", [], ["c"], value=constant))
    data = proto.SerializeToString()
    found = {t.name: t for t in tensors(data, "m")}
    assert {n: (t.dims, t.kind, t.numel) for n, t in found.items()} == {
        "a": ((2, 3), 1, 6), "b": ((300,), 3, 300), "c": ((5,), 1, 5),
    }  # fmt: skip
    for name, array in {**values, "c": np.ones(5, np.float32)}.items():
        assert data[found[name].start : found[name].stop] == array.tobytes()


def test_numbers_come_back() -> None:
    for value in (0, 1, 127, 128, 300, 2**35, 2**63):
        data = varint_bytes(value)
        assert varint(data, 0, len(data)) == (value, len(data))
    with pytest.raises(ValueError, match="more than 64 bits"):
        varint(b"\x80" * 11, 0, 11)


@pytest.mark.parametrize("data", [b"no file", b"\x3a\x7f", b"\x3b", b"\x3a\x02\x2a\x7f"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"'m\.onnx' is no ONNX file"):
        tensors(data, "m.onnx")


def test_weights_in_another_file_are_refused() -> None:
    proto = onnx.load_model_from_string(model(a=np.zeros(300, np.float32)))
    proto.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    with pytest.raises(ArtifactError, match="keeps the weights of 'a' in another file"):
        tensors(proto.SerializeToString(), "m.onnx")


def test_fields_do_not_go_beyond_their_message() -> None:
    with pytest.raises(ValueError, match="where 1 are left"):
        list(fields(b"\x0a\x02a", 0, 3))
