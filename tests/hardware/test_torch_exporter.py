"""torch's own exporter: names and layout are the net's, notes of where it was made are gone."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir
import torch
from torch import Tensor, nn

import whet
from whet.core.net import Port
from whet.hardware.torch_exporter import _other, _reason, exported


class Twice(nn.Module):
    """One value given twice, and the input given back."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.layer(x)
        return {"a": y, "b": y, "x": x}


def test_each_output_has_a_value_and_a_name_of_its_own() -> None:
    net = whet.lift(Twice(), torch.randn(2, 4))
    net = replace(net, inputs=(Port("x", 0),))
    model = exported(net)
    graph = model.graph
    assert [v.name for v in graph.inputs] == ["x"]
    names = [v.name for v in graph.outputs]
    assert names[:2] == ["a", "b"] and names[2] not in ("x", "a", "b") and len(set(map(id, graph.outputs))) == 3
    assert str(graph.inputs[0].shape[0]) == "batch" == str(graph.outputs[0].shape[0])
    assert not any(node.metadata_props or node.doc_string for node in graph)
    onnx_ir.to_proto(model)


def test_a_taken_name_gets_the_next_number() -> None:
    taken = {"x", "x_1"}
    assert _other("x", taken) == "x_2" and "x_2" in taken and _other("x", taken) == "x_3"


def test_the_reason_is_the_first_line_of_the_first_cause() -> None:
    try:
        try:
            raise ValueError("\nno such operator\nat line 3")
        except ValueError as error:
            raise RuntimeError("export failed") from error
    except RuntimeError as error:
        assert _reason(error) == "no such operator"
    assert _reason(RuntimeError("")) == "RuntimeError"
