"""What the tests of the table share: a network is written and computed in both runtimes at three batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from torch import Tensor, nn

import whet
from whet.graph.fold import fold_batch_norms
from whet.graph.outside import unwrap
from whet.hardware.onnx_writer import write

ALIKE = 2e-5


class Function(nn.Module):
    """A function of one tensor as a network."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def written(module: nn.Module, example: Any, **options: Any) -> tuple[whet.Net, Any]:
    """Return a network as a net and as an ONNX model."""
    net = whet.lift(module.eval(), example, check=False, **options)
    return net, model_of(net)


def model_of(net: whet.Net) -> Any:
    folded = fold_batch_norms(net).eval()
    example = tuple(port.outside(x) for port, x in zip(net.inputs, net.example, strict=True))
    return write(unwrap(folded), example, net.inputs, net.outputs)


def onnx_runtime(data: bytes) -> Callable[[Mapping[str, Any]], list[Any]]:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, dict(feeds))


def openvino(data: bytes) -> Callable[[Mapping[str, Any]], list[Any]]:
    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(data), "CPU", options)
    return lambda feeds: [np.array(v) for v in compiled(dict(feeds)).values()]


def check(module: nn.Module, example: Tensor, runtimes: Any = (onnx_runtime, openvino)) -> Any:
    """Return the model, once both runtimes were seen to compute what torch computes, at batches of 2, 1 and 5."""
    net, model = written(module, example)
    for runtime in runtimes:
        run = runtime(model.SerializeToString())
        for batch in (2, 1, 5):
            x = torch.cat([example] * 3)[:batch]
            with torch.no_grad():
                wanted = [y.numpy() for y in net.results(net(x))]
            found = run({net.inputs[0].name: x.numpy()})
            for a, b in zip(found, wanted, strict=True):
                assert a.shape == b.shape, (runtime.__name__, batch)
                assert np.abs(a - b).max() <= ALIKE * max(1e-6, np.abs(b).max()), (runtime.__name__, batch)
    return model
