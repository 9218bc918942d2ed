"""ONNX Runtime on the CPU: f32 and int8; it has no bf16 kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.core.target import Array
from whet.graph.file_inputs import fixed_batch, named_sizes, static_shapes
from whet.hardware.cpu import BoundSession, Results, inputs_of_model, read_onnx, recorded_shapes, refusing
from whet.hardware.onnx_export import export_onnx
from whet.hardware.standalone import onnxruntime_options


class OnnxRuntime:
    """Saves ONNX and opens it with all graph optimizations and `intra_op_num_threads` set.

    Inference runs in the calling thread and, with several threads, in a pool of the session that is not
    pinned and spins for some 30 ms after a call (its default); `measure` waits for that to end.
    """

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        """Write the net as `folder/model.onnx` and return that path."""
        return export_onnx(net, folder / "model.onnx")

    def open(
        self, path: Path, settings: Mapping[str, Any], batch: int, shapes: Mapping[str, Sequence[int]] | None = None,
        optimized: Path | None = None,
    ) -> BoundSession:  # fmt: skip
        """Load the file for static sizes; the graph that is run is written to `optimized` where that is given.

        Raises: ArtifactError for a missing or damaged file, TargetError for a network ONNX Runtime cannot
        run.
        """
        if settings["precision"] != "f32":
            raise TargetError(f"ONNX Runtime runs f32 only on a CPU; got '{settings['precision']}'.")
        model = read_onnx(path)
        inputs = inputs_of_model(model, f"'{path}'")
        sizes = static_shapes(inputs, batch, shapes, recorded_shapes(model), f"'{path}'")
        if shapes is None and (only := fixed_batch(inputs)) not in (None, batch):
            raise TargetError(f"input '{inputs[0].name}' was exported for a batch of {only}; asked for {batch}.")
        options = onnxruntime_options(ort, settings)
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        for name, size in named_sizes(inputs, sizes).items():
            options.add_free_dimension_override_by_name(name, size)
        with refusing(TargetError, f"ONNX Runtime cannot load '{path}'"):
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = {port.name: np.zeros(sizes[port.name], port.dtype) for port in inputs}
        return BoundSession(list(feeds.values()), _InPlace(session, feeds))


class _InPlace:
    """Runs a session on arrays that it reads and writes in place, once a first call has told the outputs' sizes.

    Where these depend on the data (detections), and where an output is no tensor (a map for each sample), the runtime
    makes new ones in each call.
    """

    def __init__(self, session: Any, feeds: Mapping[str, Array]) -> None:
        self.session, self.feeds = session, dict(feeds)
        self.binding: Any = None
        self.outputs: list[Any] = []
        self.sizes_stay = True

    def __call__(self) -> Results:
        if self.binding is not None:
            try:
                self.session.run_with_iobinding(self.binding)
                return self.outputs
            except RuntimeError:
                self.binding, self.sizes_stay = None, False
        outputs: list[Any] = self.session.run(None, self.feeds)
        arrays = [*self.feeds.values(), *outputs]
        if self.sizes_stay and all(isinstance(a, np.ndarray) and a.dtype != object for a in arrays):
            self._bind(outputs)
        return outputs

    def _bind(self, outputs: list[Any]) -> None:
        self.outputs = [np.array(value) for value in outputs]
        self.binding = self.session.io_binding()
        for name, buffer in self.feeds.items():
            self.binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for value, buffer in zip(self.session.get_outputs(), self.outputs):
            self.binding.bind_output(value.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
