"""OpenVINO on the CPU: reads ONNX, runs bf16 by default where the processor has it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whet.core.errors import TargetError
from whet.core.net import Net
from whet.hardware.cpu import BoundSession, read_onnx, refusing, require, static_shape
from whet.hardware.onnx_export import export_onnx

# Importing OpenVINO reports the import to a server, unless this package is absent: then it uses its own stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402


@cache
def _core() -> Any:
    return ov.Core()


class OpenVINO:
    """Saves ONNX and opens it with `INFERENCE_PRECISION_HINT` and `INFERENCE_NUM_THREADS` set, one stream.

    Inference runs in the calling thread and, with several threads, in OpenVINO's own workers, pinned to a
    core each (its default).
    """

    def save(self, net: Net, folder: Path, settings: Mapping[str, Any]) -> Path:
        return export_onnx(net, folder / "model.onnx")

    def open(self, path: Path, settings: Mapping[str, Any], batch: int) -> BoundSession:
        """Compile the file for a static batch.

        Raises: ArtifactError for a missing or damaged file, TargetError for a network OpenVINO cannot run.
        """
        if path.suffix == ".xml":  # OpenVINO's own format, which other tools write
            require(path)
            require(path.with_suffix(".bin"))
        else:
            read_onnx(path)
        with refusing(TargetError, f"OpenVINO cannot read '{path}'"):
            model = _core().read_model(str(path))
        if len(model.outputs) != 1:
            raise TargetError(f"'{path}' has {len(model.outputs)} outputs; it must have one.")
        shapes = {
            port: static_shape(
                [d.get_length() if d.is_static else None for d in port.get_partial_shape()],
                batch,
                port.get_any_name(),
            )
            for port in model.inputs
        }
        options = {
            "INFERENCE_PRECISION_HINT": settings["precision"],
            "INFERENCE_NUM_THREADS": settings["threads"],
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": True,
        }
        if settings["precision"] == "f32" and settings["threads"] == 1 and _joins_matrices(model):
            # OpenVINO 2026.4.1 dies of a segmentation fault on residual blocks of linear layers over matrices.
            options["SNIPPETS_MODE"] = "DISABLE"
        with refusing(TargetError, f"OpenVINO cannot compile '{path}' for a batch of {batch}"):
            model.reshape(shapes)
            request = _core().compile_model(model, "CPU", options).create_infer_request()
            bound = []
            for port in request.model_inputs:
                buffer = np.zeros(tuple(port.shape), port.element_type.to_dtype())
                request.set_tensor(port, ov.Tensor(buffer, shared_memory=True))
                bound.append(buffer)
            request.infer()
            output = request.get_output_tensor().data

        def infer() -> Any:
            request.infer()
            return output

        return BoundSession(bound, infer)


def _joins_matrices(model: Any) -> bool:
    """Say whether an elementwise operation joins two computed tensors of at most two dimensions."""
    for node in model.get_ops():
        if node.get_type_name() not in ("Add", "Subtract", "Multiply"):
            continue
        rank = node.get_output_partial_shape(0).rank
        made = [v.get_node().get_type_name() != "Constant" for v in node.input_values()]
        if rank.is_static and rank.get_length() <= 2 and all(made):
            return True
    return False
