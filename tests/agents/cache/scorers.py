"""ONNX files of one product, in the place of policies."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper, numpy_helper

from whet.agents.cache.traces import Array


def write_scorer(path: Path, weight: Array, candidates: int) -> Path:
    """Write a network: features (N, candidates, 6) times a weight (6,) are scores (N, candidates)."""
    sizes = {"x": ["n", candidates, 6], "y": None}
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in sizes.items()]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "scores", infos[:1], infos[1:], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path
