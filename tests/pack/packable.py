"""Files to pack: made by hand, and written by whet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import whet
from whet.graph.fake_quantize import quantize_weight
from whet.graph.grids import Grid
from whet.hardware.onnx_export import export_onnx


def model(**tensors: NDArray) -> bytes:
    """Return a file with such initializers, each the bias of nothing much."""
    made = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    node = helper.make_node("Identity", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def laplace(*shape: int, scale: float = 8.0, seed: int = 0) -> NDArray:
    """Return int8 weights whose columns are of very different amounts."""
    draw = np.random.default_rng(seed)
    wide = scale * 2.0 ** draw.uniform(-3, 2, shape[1:])
    return np.round(draw.laplace(size=shape) * wide).clip(-127, 127).astype(np.int8)


def written(grid: Grid | None, path: Path, zeros: float = 0.0) -> bytes:
    """Return the file that whet writes of two convolutions on a grid."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, bias=False), nn.Flatten(), nn.Linear(256, 8)
    )
    for layer in net:
        if hasattr(layer, "weight"):
            drop = torch.rand_like(layer.weight) < zeros
            layer.weight.data = torch.where(drop, 0.0, 0.1 * torch.randn_like(layer.weight))
    lifted = whet.lift(net.eval(), (torch.zeros(2, 8, 8, 8),))
    if grid is not None:
        for name, layer in list(lifted.layers().items()):
            if hasattr(layer, "weight"):
                lifted.module.set_submodule(name, quantize_weight(layer, grid))
        lifted = lifted.settle()
    data = export_onnx(lifted.eval(), path / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_model_from_string(data))
    return data
