"""The writer's nodes and constants: each name once, each constant once, lengths that stay free."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, fx, nn

from whet.hardware.onnx_writer.trace import trace
from whet.hardware.onnx_writer.writer import Unwritten, Writer, pads, spread


class Sized(nn.Module):
    """Rows are flattened by a length that is read off the input."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.ops.aten.sym_size.int(x, 0)
        return (x * self.gain).reshape(rows * 2, 6)


def writer() -> tuple[Writer, dict[str, fx.Node]]:
    module = fx.symbolic_trace(Sized())
    made = Writer(module, trace(module, [torch.ones(2, 4, 3)], [torch.ones(5, 4, 3)]))
    nodes = {n.name: n for n in module.graph.nodes}
    made.names[nodes["x"]] = made.fresh("x")
    return made, nodes


def test_names_are_never_given_twice() -> None:
    w, _ = writer()
    w.reserve(["out", "out_1"])
    assert [w.fresh("out"), w.fresh("out"), w.fresh("new"), w.fresh("new")] == ["out_2", "out_3", "new", "new_1"]
    assert w.emit("Relu", ["x"], "x") == "x_1"


def test_a_constant_is_stored_once_under_the_networks_name_for_it() -> None:
    w, nodes = writer()
    gain = w.module.get_parameter("gain")
    assert w.name(nodes["gain"]) == w.constant(gain) == "gain"
    assert w.constant(torch.tensor([1, 2])) == w.constant(torch.tensor([1, 2])) == w.vector([1, 2])
    assert w.constant(torch.tensor([1.0, 2.0])) != w.vector([1, 2]), "of another type it is another constant"
    assert len(w.initializers) == 3
    assert w.constant(torch.zeros(2)) != w.constant(torch.zeros(2, dtype=torch.int32)), "whose bytes are the same"
    torch.testing.assert_close(torch.tensor(numpy_helper.to_array(w.initializers["gain"])), gain.detach())
    with pytest.raises(Unwritten, match=r"torch\.complex64"):
        w.constant(torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize("count", [4, 5])
def test_integers_of_four_bits_are_two_a_byte(count: int) -> None:
    w, _ = writer()
    values = torch.tensor([-8, 7, -1, 3, 5][:count], dtype=torch.int8)
    assert not w.has_few_bits
    kept = w.initializers[w.constant(values, bits=4)]
    assert kept.data_type == onnx.TensorProto.INT4 and len(kept.raw_data) == (count + 1) // 2 and w.has_few_bits
    assert numpy_helper.to_array(kept).astype(int).tolist() == values.tolist()
    with pytest.raises(Unwritten, match="integers of 3 bits"):
        w.constant(values, bits=3)


def test_lengths_are_constant_or_computed_of_the_inputs() -> None:
    w, nodes = writer()
    product = nodes["mul_1"]
    made = w.lengths([product, 6])
    assert [n.op_type for n in w.nodes] == ["Shape", "Mul", "Concat"] and made == w.nodes[-1].output[0]
    assert w.length(product) == w.nodes[1].output[0] and len(w.nodes) == 3, "it is computed once"
    assert w.lengths([2, 3]) == w.vector([2, 3])


def test_what_is_free_has_no_length_and_is_not_fixed() -> None:
    w, nodes = writer()
    assert w.dims(nodes["x"]) == [None, 4, 3] and w.rank(nodes["x"]) == 3
    assert w.dtype(nodes["x"]) == torch.float32 and w.dtype(2) == torch.int64 and w.dtype(True) == torch.bool
    assert w.fixed([1, (2, nodes["gain"])])[1][1] is w.trace.values[nodes["gain"]][0]
    with pytest.raises(Unwritten, match="'x' would have to be constant"):
        w.fixed(nodes["x"])


def test_one_free_length_is_left_to_the_reshape() -> None:
    w, nodes = writer()
    result = nodes["reshape"]
    w.reshaped("x", result, nodes["x"])
    (made,) = w.nodes
    assert made.op_type == "Reshape"
    assert numpy_helper.to_array(w.initializers[made.input[1]]).tolist() == [-1, 6]


def test_a_cast_is_written_only_where_types_differ() -> None:
    w, _ = writer()
    assert w.cast("x", torch.float32, None) == w.cast("x", torch.float32, torch.float32) == "x" and not w.nodes
    w.cast("x", torch.float32, torch.int64)
    assert w.nodes[0].op_type == "Cast" and w.nodes[0].attribute[0].i == onnx.TensorProto.INT64


def test_paddings_and_numbers_for_each_dimension() -> None:
    assert pads([1, 2]) == [1, 2, 1, 2] and spread(3, 2) == [3, 3] and spread([3], 2) == [3, 3]
    assert spread((3, 4), 2) == [3, 4]
