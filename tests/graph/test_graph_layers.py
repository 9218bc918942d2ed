"""The table of layers: a module that is built from an operation's arguments computes the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from whet.graph.layers import LAYERS, bind

aten = torch.ops.aten
torch.manual_seed(0)
IMAGE, ROWS = torch.randn(2, 4, 6, 6), torch.randn(2, 4)

CALLS: dict[str, tuple[Any, tuple[Any, ...], type]] = {
    "grouped, strided": (
        aten.conv2d.default, (IMAGE, torch.randn(6, 2, 3, 3), torch.randn(6), [2], [1], [1], 2), nn.Conv2d),
    "same padding": (aten.conv2d.padding, (IMAGE, torch.randn(3, 4, 3, 3), None, [1, 1], "same", [2, 2], 1), nn.Conv2d),
    "transposed": (
        aten.conv_transpose2d.input,
        (IMAGE, torch.randn(4, 3, 3, 3), None, [2, 2], [1, 1], [1, 1], 2, [1, 1]), nn.ConvTranspose2d),
    "linear": (aten.linear.default, (ROWS, torch.randn(3, 4)), nn.Linear),
    "batch norm": (
        aten.batch_norm.default,
        (IMAGE, torch.rand(4), torch.rand(4), torch.rand(4), torch.rand(4), False, 0.3, 1e-3, False), nn.BatchNorm2d),
    "layer norm": (aten.layer_norm.default, (ROWS, [4], torch.rand(4), None, 1e-2), nn.LayerNorm),
    "rms norm": (aten.rms_norm.default, (ROWS, [4], torch.rand(4), 1e-2), nn.RMSNorm),
    "group norm": (aten.group_norm.default, (IMAGE, 2, torch.rand(4), torch.rand(4)), nn.GroupNorm),
    "embedding": (aten.embedding.default, (torch.randn(5, 3), torch.tensor([[1, 4]]), 4), nn.Embedding),
}  # fmt: skip


@pytest.mark.parametrize(("target", "args", "kind"), CALLS.values(), ids=CALLS)
def test_the_layer_of_an_operation_computes_it(target: Any, args: tuple[Any, ...], kind: type) -> None:
    row, arguments = LAYERS[target], bind(target, args, {})
    layer = row.build(arguments)
    assert type(layer) is kind
    for argument, attribute in row.tensors:
        value = arguments[argument]
        if value is None:
            assert getattr(layer, attribute, None) is None
        elif attribute in layer._buffers:
            layer._buffers[attribute] = value
        else:
            setattr(layer, attribute, nn.Parameter(value))
    found = layer.eval()(*(arguments[name] for name in row.inputs))
    torch.testing.assert_close(found, target(*args))


def test_options_survive() -> None:
    target, args, _ = CALLS["batch norm"]
    norm = LAYERS[target].build(bind(target, args, {}))
    assert (norm.eps, norm.momentum) == (1e-3, 0.3)
    target, args, _ = CALLS["embedding"]
    assert LAYERS[target].build(bind(target, args, {})).padding_idx == 4


def test_defaults_and_names_of_a_call_are_filled_in() -> None:
    found = bind(aten.conv2d.default, (IMAGE,), {"weight": ROWS})
    assert found["weight"] is ROWS and found["groups"] == 1 and found["bias"] is None
