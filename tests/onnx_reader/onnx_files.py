"""Small ONNX files for the reader's tests, written with the onnx package alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
STATE = ["batch", 2, 3]


def model_of(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: list[str] | dict[str, list[Any]],
    weights: dict[str, Any] | None = None,
    opset: int = 17,
    kinds: dict[str, int] | None = None,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Return a model of nodes, inputs with their shapes, outputs with or without, and initializers."""
    shapes: dict[str, Any] = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, (kinds or {}).get(n, FLOAT), shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, (kinds or {}).get(n, FLOAT), shape) for n, shape in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_convolution() -> onnx.ModelProto:
    """Convolution, norm, ReLU, pooling, reshape by a computed size, linear layer."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], "conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["d"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "first"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["size"], axis=0),
        helper.make_node("Reshape", ["d", "size"], ["e"]),
        helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    weights = {
        "conv.weight": floats(4, 2, 3, 3), "conv.bias": floats(4), "bn.weight": floats(4, seed=1),
        "bn.bias": floats(4, seed=2), "bn.mean": floats(4, seed=3), "bn.var": np.abs(floats(4, seed=4)) + 0.5,
        "zero": np.array(0), "first": np.array([0]), "rest": np.array([-1]), "fc.weight": floats(3, 36),
        "fc.bias": floats(3),
    }  # fmt: skip
    return model_of(nodes, {"x": ["batch", 2, 6, 6]}, {"y": ["batch", 3]}, weights)


def small_sequence() -> onnx.ModelProto:
    """Embedding, LSTM, layer norm spelled out, product and bias."""
    nodes = [
        helper.make_node("Gather", ["table.weight", "tokens"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["b", "w", "r", "bias"], ["c", "", ""], "/lstm/LSTM", hidden_size=5),
        helper.make_node("Squeeze", ["c", "one"], ["d"]),
        helper.make_node("Transpose", ["d"], ["e"], perm=[1, 0, 2]),
        helper.make_node("ReduceMean", ["e"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["e", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", "epsilon"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Div", ["centred", "root"], ["unit"]),
        helper.make_node("Mul", ["unit", "norm.weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "norm.bias"], ["normed"]),
        helper.make_node("MatMul", ["normed", "onnx::MatMul_12"], ["product"], "/head/MatMul"),
        helper.make_node("Add", ["head.bias", "product"], ["y"], "/head/Add"),
    ]
    weights = {
        "table.weight": floats(7, 3), "w": floats(1, 20, 3), "r": floats(1, 20, 5), "bias": floats(1, 40),
        "one": np.array([1]), "two": np.array(2, np.float32), "epsilon": np.array(1e-5, np.float32),
        "norm.weight": floats(5, seed=1), "norm.bias": floats(5, seed=2), "onnx::MatMul_12": floats(5, 7),
        "head.bias": floats(7),
    }  # fmt: skip
    return model_of(
        nodes, {"tokens": ["batch", 4]}, {"y": ["batch", 4, 7]}, weights, kinds={"tokens": TensorProto.INT64}
    )


def small_branches() -> onnx.ModelProto:
    """An If on a constant, a Loop of a known length, a Split, a Resize, a Softmax."""
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "yes", [], [info("t", shape=STATE)])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "no", [], [info("n", shape=STATE)])
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "step"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("going", TensorProto.BOOL, []), info("state", shape=STATE)],
        [info("still", TensorProto.BOOL, []), info("next", shape=STATE)],
    )
    nodes = [
        helper.make_node("If", ["condition"], ["a"], then_branch=yes, else_branch=no),
        helper.make_node("Loop", ["three", "condition", "a"], ["b"], body=body),
        helper.make_node("Resize", ["b", "", "scales"], ["c"], mode="nearest"),
        helper.make_node("Split", ["c", "halves"], ["d", "e"], axis=2),
        helper.make_node("Softmax", ["d"], ["f"], axis=-1),
        helper.make_node("Add", ["e", "f"], ["y"]),
    ]
    weights = {
        "condition": np.array(True), "three": np.array(3), "step": np.array(0.5, np.float32),
        "scales": np.array([1, 1, 2], np.float32), "halves": np.array([3, 3]),
    }  # fmt: skip
    return model_of(nodes, {"x": ["batch", 2, 3]}, {"y": ["batch", 2, 3]}, weights)


def info(name: str, kind: int = FLOAT, shape: list[Any] | None = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


SMALL = {"convolution": small_convolution, "sequence": small_sequence, "branches": small_branches}
