"""ONNX Runtime's own quantization: static QDQ, unsigned activations and signed weights per channel, as its
documentation recommends for x86, over its calibration methods; dynamic for transformers."""

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from whet.bench.peers.work import Work, as_arrays
from whet.hardware.onnx_export import export_onnx

work = Work.ordered()
source = export_onnx(work.net().eval(), work.place("source", ".onnx"))
prepared = work.place("prepared", ".onnx")
quant_pre_process(source, prepared, skip_symbolic_shape=True)
names = [i.name for i in onnx.load(str(source)).graph.input]


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.items = iter([dict(zip(names, as_arrays(x), strict=True)) for x in work.calibration()])

    def get_next(self):
        return next(self.items, None)


for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile):
    if work.seconds_left < 10:
        break
    name = f"static int8, {method.name}"
    path = work.place(name, ".onnx")
    try:
        quantize_static(
            prepared, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, calibrate_method=method,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    except (ValueError, RuntimeError, MemoryError) as error:  # one method's failure must not hide the others
        print(f"{name}: {type(error).__name__}: {error}")
        continue
    work.deliver(name, path, "onnxruntime", "f32")
    # Its files run in OpenVINO as well, and a user would try.
    work.deliver(f"{name}, in OpenVINO", path, "openvino")

if work.is_transformer:
    path = work.place("dynamic int8", ".onnx")
    # It transposes the weights of Gemm and then trips over the shapes that the exporter wrote of them.
    plain = onnx.load(str(source))
    del plain.graph.value_info[:]
    quantize_dynamic(plain, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    work.deliver("dynamic int8", path, "onnxruntime", "f32")
