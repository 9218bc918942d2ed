"""Serves a model file with its runtime and NumPy alone: no torch, no whet. Also a script, for fresh processes.

    python standalone.py < order.json

`order` has `path`, `settings` (`runtime`, `precision`, `threads`), `inputs` (by name: sizes and NumPy's name of the
type), and `calls`. The answer, one line of JSON, has the process's peak of resident memory and its cold start.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[Mapping[str, Any]], list[Any]]


def openvino_options(model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what OpenVINO compiles a model that it has read with."""
    options = {
        "INFERENCE_PRECISION_HINT": settings["precision"],
        "INFERENCE_NUM_THREADS": settings["threads"],
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": True,
    }
    if settings["precision"] == "f32" and settings["threads"] == 1 and _joins_matrices(model):
        # OpenVINO 2026.4.1 dies of a segmentation fault on residual blocks of linear layers over matrices.
        options["SNIPPETS_MODE"] = "DISABLE"
    return options


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


def onnxruntime_options(ort: Any, settings: Mapping[str, Any]) -> Any:
    """Return what ONNX Runtime, the module `ort`, loads a file with: all graph optimizations, errors alone printed."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return options


def opened(path: Path, settings: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]]) -> Call:
    """Return a call of the file for inputs of static sizes, which takes arrays by name and gives a list of arrays."""
    if settings["runtime"] == "onnxruntime":
        import onnxruntime as ort

        session = ort.InferenceSession(str(path), onnxruntime_options(ort, settings), ["CPUExecutionProvider"])
        return lambda feeds: list(session.run(None, dict(feeds)))
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov

    core = ov.Core()
    model = core.read_model(str(path))
    ports = {name: port for port in model.inputs for name in port.get_names()}
    model.reshape({ports[name]: size for name, size in sizes.items() if name in ports})
    request = core.compile_model(model, "CPU", openvino_options(model, settings)).create_infer_request()
    return lambda feeds: list(request.infer({k: v for k, v in feeds.items() if k in ports}).values())


def peak_resident_bytes() -> int:
    """Return the most memory that this process held at once.

    Linux says it of the program itself (`VmHWM`); what `getrusage` says begins with the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def serve(order: Mapping[str, Any]) -> dict[str, float]:
    """Open the file that is ordered, call it on zeros, and return `peak_bytes` and `cold_start_seconds`.

    The cold start is from when the file begins to be opened until the first answer; the runtime is imported before.
    """
    inputs = {name: (tuple(sizes), kind) for name, (sizes, kind) in order["inputs"].items()}
    feeds = {name: np.zeros(sizes, kind) for name, (sizes, kind) in inputs.items()}
    _import_runtime(order["settings"]["runtime"])
    began = time.perf_counter()
    call = opened(Path(order["path"]), order["settings"], {name: sizes for name, (sizes, _) in inputs.items()})
    call(feeds)
    cold_start_seconds = time.perf_counter() - began
    for _ in range(order["calls"] - 1):
        call(feeds)
    return {"peak_bytes": peak_resident_bytes(), "cold_start_seconds": cold_start_seconds}


def _import_runtime(name: str) -> None:
    if name != "onnxruntime":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import_module(name)


if __name__ == "__main__":
    print(json.dumps(serve(json.load(sys.stdin))))
