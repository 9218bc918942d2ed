"""Writes digits.tflite, which tests read: a small network for images (batch, 8, 8, 1) that knows digits.

    pip install ai-edge-litert
    python tests/openvino_reader/make_digits.py

A convolution, one of single channels with a stride, an average pooling, a reshape, a layer that is solved by least
squares on handwritten digits, and a softmax; `ai-edge-litert` has the classes that files are written by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from sklearn.datasets import load_digits
from torch.nn import functional

HERE = Path(__file__).parent
KINDS = schema.BuiltinOperator
RELU, SAME = 1, 0


def filled(kind: Any, **values: Any) -> Any:
    made = kind()
    for name, value in values.items():
        setattr(made, name, value)
    return made


class File:
    """Gathers tensors and operators of one graph."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers = [schema.BufferT()]
        self.codes: list[Any] = []
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: tuple[int, ...], values: np.ndarray | None = None, kind: int = 0) -> int:
        buffer = 0
        if values is not None:
            self.buffers.append(filled(schema.BufferT, data=np.frombuffer(values.tobytes(), np.uint8)))
            buffer = len(self.buffers) - 1
        signature = None if values is not None else [-1, *shape[1:]]
        self.tensors.append(
            filled(schema.TensorT, name=name, shape=list(shape), shapeSignature=signature, buffer=buffer, type=kind)
        )
        return len(self.tensors) - 1

    def weights(self, name: str, values: torch.Tensor) -> int:
        return self.tensor(name, tuple(values.shape), values.detach().contiguous().numpy())

    def operator(self, code: int, inputs: list[int], output: int, kind: int = 0, options: Any = None) -> int:
        self.codes.append(filled(schema.OperatorCodeT, builtinCode=code, deprecatedBuiltinCode=code, version=1))
        index = len(self.codes) - 1
        self.operators.append(
            filled(schema.OperatorT, opcodeIndex=index, inputs=inputs, outputs=[output], builtinOptionsType=kind,
                   builtinOptions=options)
        )  # fmt: skip
        return output

    def write(self, path: Path, given: int, found: int) -> None:
        graph = filled(
            schema.SubGraphT,
            tensors=self.tensors,
            operators=self.operators,
            inputs=[given],
            outputs=[found],
            name="main",
        )
        model = filled(
            schema.ModelT, version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers, description=""
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        path.write_bytes(bytes(builder.Output()))


def main() -> None:
    torch.manual_seed(0)
    options, file = schema.BuiltinOptions, File()
    table = load_digits()
    images = torch.from_numpy(table.images).float().unsqueeze(1) / 16
    first, single = torch.randn(8, 1, 3, 3) / 3, torch.randn(8, 1, 3, 3) / 3
    hidden = functional.conv2d(images, first, padding=1).relu()
    hidden = functional.conv2d(functional.pad(hidden, (0, 1, 0, 1)), single, stride=2, groups=8).relu()
    hidden = functional.avg_pool2d(hidden, 2).permute(0, 2, 3, 1).flatten(1)
    hidden = torch.cat([hidden, torch.ones(len(hidden), 1)], 1)
    wanted = functional.one_hot(torch.from_numpy(table.target).long()).float() * 8
    solved = torch.linalg.solve(hidden.T @ hidden + 0.01 * torch.eye(33), hidden.T @ wanted)

    given = file.tensor("image", (1, 8, 8, 1))
    weight, bias = file.weights("first", first.permute(0, 2, 3, 1)), file.weights("first/bias", torch.zeros(8))
    convolved = filled(schema.Conv2DOptionsT, padding=SAME, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1,
                       fusedActivationFunction=RELU)  # fmt: skip
    x = file.operator(
        KINDS.CONV_2D, [given, weight, bias], file.tensor("a", (1, 8, 8, 8)), options.Conv2DOptions, convolved
    )
    weight, bias = file.weights("single", single.permute(1, 2, 3, 0)), file.weights("single/bias", torch.zeros(8))
    each = filled(schema.DepthwiseConv2DOptionsT, padding=SAME, strideW=2, strideH=2, depthMultiplier=1,
                  dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=RELU)  # fmt: skip
    x = file.operator(
        KINDS.DEPTHWISE_CONV_2D, [x, weight, bias], file.tensor("b", (1, 4, 4, 8)), options.DepthwiseConv2DOptions, each
    )
    pooled = filled(schema.Pool2DOptionsT, padding=1, strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    x = file.operator(KINDS.AVERAGE_POOL_2D, [x], file.tensor("c", (1, 2, 2, 8)), options.Pool2DOptions, pooled)
    shape = file.tensor("shape", (2,), np.array([-1, 32], np.int32), kind=2)
    flat = filled(schema.ReshapeOptionsT, newShape=[-1, 32])
    x = file.operator(KINDS.RESHAPE, [x, shape], file.tensor("d", (1, 32)), options.ReshapeOptions, flat)
    weight, bias = file.weights("last", solved[:32].T), file.weights("last/bias", solved[32])
    dense = schema.FullyConnectedOptionsT()
    x = file.operator(
        KINDS.FULLY_CONNECTED, [x, weight, bias], file.tensor("e", (1, 10)), options.FullyConnectedOptions, dense
    )
    steep = filled(schema.SoftmaxOptionsT, beta=1.0)
    x = file.operator(KINDS.SOFTMAX, [x], file.tensor("digit", (1, 10)), options.SoftmaxOptions, steep)
    file.write(HERE / "digits.tflite", given, x)


if __name__ == "__main__":
    main()
