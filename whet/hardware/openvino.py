"""OpenVINO on the CPU: reads ONNX, runs bf16 by default where the processor has it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.core.target import Array
from whet.graph.file_inputs import FileInput, fixed_batch, static_shapes
from whet.hardware.cpu import BoundSession, Results, inputs_of_model, read_onnx, recorded_shapes, refusing, require
from whet.hardware.onnx_export import export_onnx
from whet.hardware.standalone import openvino_options

# Importing OpenVINO reports the import to a server, unless this package is absent: then it uses its own stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402


@cache
def core() -> Any:
    """Return OpenVINO's entry, made once a process; nothing of it is reported."""
    return ov.Core()


class OpenVINO:
    """Saves ONNX and opens it with `INFERENCE_PRECISION_HINT` and `INFERENCE_NUM_THREADS` set, one stream.

    Inference runs in the calling thread and, with several threads, in OpenVINO's own workers, pinned to a
    core each (its default).
    """

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        """Write the net as `folder/model.onnx` and return that path."""
        return export_onnx(net, folder / "model.onnx")

    def open(
        self, path: Path, settings: Mapping[str, Any], batch: int, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> BoundSession:
        """Compile the file for static sizes.

        Raises: ArtifactError for a missing or damaged file, TargetError for a network OpenVINO cannot run.
        """
        request, bound = self.request(path, settings, batch, shapes)
        return BoundSession(bound, _call(request))

    def request(
        self, path: Path, settings: Mapping[str, Any], batch: int,
        shapes: Mapping[str, Sequence[int]] | None = None, **options: Any,
    ) -> tuple[Any, list[Array]]:  # fmt: skip
        """Return the request to run a file, compiled with more `options`, and the arrays `(batch, ...)` it reads."""
        inputs, recorded = inputs_of_file(path)
        with refusing(TargetError, f"OpenVINO cannot read '{path}'"):
            model = core().read_model(str(path))
        sizes = static_shapes(inputs, batch, shapes, recorded, f"'{path}'")
        if shapes is None and fixed_batch(inputs) not in (None, batch):
            sizes = {name: (batch, *size[1:]) for name, size in sizes.items()}
        with refusing(TargetError, f"OpenVINO cannot compile '{path}' for inputs of {list(sizes.values())}"):
            ports = {name: port for port in model.inputs for name in port.get_names()}
            # An input that nothing reads may be gone.
            model.reshape({ports[name]: size for name, size in sizes.items() if name in ports})
            compiled_with = {**openvino_options(model, settings), **options}
            request = core().compile_model(model, "CPU", compiled_with).create_infer_request()
        bound = [np.zeros(sizes[port.name], port.dtype) for port in inputs]
        with refusing(TargetError, f"OpenVINO cannot run '{path}' with inputs of {list(sizes.values())}"):
            compiled = {name: port for port in request.model_inputs for name in port.get_names()}
            for port, buffer in zip(inputs, bound):
                if port.name in compiled:
                    request.set_tensor(compiled[port.name], ov.Tensor(buffer, shared_memory=True))
        return request, bound


def _call(request: Any) -> Callable[[], Results]:
    """Return a call that runs the network and gives its outputs, where the runtime keeps them."""
    fixed = all(port.get_partial_shape().is_static for port in request.model_outputs)
    kept: list[Any] = []

    def infer() -> Results:
        request.infer()
        if not (kept and fixed):
            kept[:] = [request.get_output_tensor(i).data for i in range(len(request.model_outputs))]
        return kept

    return infer


def compile_options(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file is compiled with under settings."""
    with refusing(TargetError, f"OpenVINO cannot read '{path}'"):
        return openvino_options(core().read_model(str(path)), settings)


def write_ir(source: Path, place: Path) -> None:
    """Write an ONNX file in OpenVINO's own format: `place`, which ends in .xml, and beside it the weights in .bin.

    Raises: TargetError for a network that OpenVINO does not read.
    """
    with refusing(TargetError, f"OpenVINO cannot read '{source}'"):
        ov.save_model(core().read_model(str(source)), str(place), compress_to_fp16=False)


def inputs_of_file(path: Path) -> tuple[list[FileInput], Mapping[str, Any]]:
    """Return the inputs of an ONNX file or of OpenVINO's own format, and the sizes that whet put on record.

    Raises: ArtifactError for a missing or damaged file, TargetError for inputs that are no tensors.
    """
    if path.suffix != ".xml":
        model = read_onnx(path)
        return inputs_of_model(model, f"'{path}'"), recorded_shapes(model)
    require(path)
    require(path.with_suffix(".bin"))
    with refusing(TargetError, f"OpenVINO cannot read '{path}'"):
        ports = core().read_model(str(path)).inputs
        return [_input(port) for port in ports], {}


def _input(port: Any) -> FileInput:
    dims = tuple(dim.get_length() if dim.is_static else None for dim in port.get_partial_shape())
    return FileInput(port.get_any_name(), np.dtype(port.get_element_type().to_dtype()), dims)
