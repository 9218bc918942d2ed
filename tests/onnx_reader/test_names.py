"""Names of layers: from a tensor's name, a node's folder, an exporter's notes; no two stand in each other's way."""

import torch
from torch import nn

from whet.onnx_reader.graph import Step
from whet.onnx_reader.names import Places, layer_names, stem


def test_a_layer_goes_by_its_own_tensors_first_and_by_its_operator_last() -> None:
    step = Step("Conv", "/body/conv1/Conv", ["x"], ["y"], scope="scope.layer")
    found = layer_names(step, own=["net.conv.weight", "onnx::Conv_5"], shared=["table.weight"])
    assert found == ["net.conv", "scope.layer", "body.conv1", "table", "Conv", "conv"]
    assert layer_names(Step("Conv", "", [], []), [], []) == ["conv"]


def test_what_says_nothing_of_a_layer_gives_no_name() -> None:
    for name in ("weight", "onnx::MatMul_12", "_val_3", "0123456789abcdef"):
        assert stem(name) == "", name


def test_a_taken_place_gets_an_underscore_at_the_part_that_is_taken() -> None:
    root = nn.Module()
    places = Places(root)
    places.put("a.b", nn.Linear(2, 2))
    places.put("a.scale", nn.Parameter(torch.ones(2)))
    places.put("a.table", torch.zeros(2))
    assert places.free("a.b") == "a.b_" and places.free("a.c") == "a.c" and places.free("a.scale.x") == "a.scale_.x"
    assert places.free("training") == "training_" and places.free("") == "tensor"
    assert places.holds("a.b") and places.holds("a") and places.holds("a.table") and not places.holds("a.c")
    assert dict(root.named_buffers()).keys() == {"a.table"}
    assert {n for n, _ in root.named_parameters()} == {"a.b.weight", "a.b.bias", "a.scale"}
