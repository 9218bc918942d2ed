"""ONNX Runtime on the CPU: f32 and int8; it has no bf16 kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.hardware.cpu import BoundSession, read_onnx, refusing, static_shape
from whet.hardware.onnx_export import export_onnx

ONLY_ERRORS = 3


class OnnxRuntime:
    """Saves ONNX and opens it with all graph optimizations and `intra_op_num_threads` set.

    Inference runs in the calling thread and, with several threads, in a pool of the session that is not
    pinned and spins for some 30 ms after a call (its default); `measure` waits for that to end.
    """

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        return export_onnx(net, folder / "model.onnx")

    def open(self, path: Path, settings: Mapping[str, Any], batch: int) -> BoundSession:
        """Load the file for a static batch.

        Raises: ArtifactError for a missing or damaged file, TargetError for a network ONNX Runtime cannot
        run.
        """
        if settings["precision"] != "f32":
            raise TargetError(f"ONNX Runtime runs f32 only on a CPU; got '{settings['precision']}'.")
        model = read_onnx(path)
        if len(model.graph.output) != 1:
            raise TargetError(f"'{path}' has {len(model.graph.output)} outputs; it must have one.")
        stored = {tensor.name for tensor in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in stored]
        options = ort.SessionOptions()
        options.intra_op_num_threads = settings["threads"]
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = ONLY_ERRORS
        bound = [_buffer(value, batch, options) for value in inputs]
        with refusing(TargetError, f"ONNX Runtime cannot load '{path}'"):
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        with refusing(TargetError, f"ONNX Runtime cannot run '{path}' with a batch of {batch}"):
            # One plain run tells the output's shape, which the file may give by name only.
            output = session.run(None, {v.name: b for v, b in zip(inputs, bound)})[0].copy()
            binding = session.io_binding()
            for value, buffer in zip(inputs, bound):
                binding.bind_input(value.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
            name = model.graph.output[0].name
            binding.bind_output(name, "cpu", 0, output.dtype, output.shape, output.ctypes.data)

        def infer() -> Any:
            session.run_with_iobinding(binding)
            return output

        return BoundSession(bound, infer)


def _buffer(value: Any, batch: int, options: Any) -> Any:
    """Return zeros of the input's type and static shape; tell `options` the length of its batch dimension."""
    kind = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    shape = static_shape(dims, batch, value.name)
    if dims[0] not in (None, batch):
        raise TargetError(f"input '{value.name}' was exported for a batch of {dims[0]}; asked for {batch}.")
    if kind.shape.dim[0].dim_param:
        options.add_free_dimension_override_by_name(kind.shape.dim[0].dim_param, batch)
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
