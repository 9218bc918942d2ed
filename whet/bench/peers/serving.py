"""A network that a peer made smaller is served the ways a user would try: as it is, and as int8 by nncf."""

from __future__ import annotations

from torch import nn

from whet.bench.peers.work import Work, as_arrays
from whet.graph.lift import lift
from whet.hardware.onnx_export import export_onnx


def serve(work: Work, name: str, module: nn.Module) -> None:
    """Hand in `module` as it is for OpenVINO and ONNX Runtime, and for OpenVINO quantized by nncf's mixed preset."""
    import nncf
    import openvino as ov

    _, example = work.module()
    source = export_onnx(lift(module.eval(), example, name=work.network), work.place(name, ".onnx"))
    work.deliver(name, source, "openvino")
    work.deliver(f"{name}, in ONNX Runtime", source, "onnxruntime", "f32")
    calibration = nncf.Dataset([as_arrays(x) for x in work.calibration()])
    kind = nncf.ModelType.TRANSFORMER if work.is_transformer else None
    preset = nncf.QuantizationPreset.MIXED
    quantized = nncf.quantize(ov.Core().read_model(source), calibration, preset=preset, model_type=kind)
    path = work.place(f"{name}, int8", ".xml")
    ov.save_model(quantized, path, compress_to_fp16=False)
    work.deliver(f"{name}, int8", path, "openvino")
