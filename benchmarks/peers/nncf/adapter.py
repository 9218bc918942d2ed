"""nncf: post-training quantization of the OpenVINO model, as its documentation recommends, with its main knobs swept.

`quantize` with both presets (and `ModelType.TRANSFORMER` where the network is one), with fast and with full bias
correction; `quantize_with_accuracy_control`; for transformers also weight compression to int8 and int4; then
quantization-aware training of the torch module for at most a minute, at a hundredth of the learning rate.
Structured pruning is gone in this version, and unstructured zeros are stored, not skipped, on this device.
"""

import nncf
import numpy as np
import openvino as ov
import torch

from whet.bench.peers.work import Work, as_arrays
from whet.core.task import split
from whet.hardware.onnx_export import export_onnx

TRAINING_SECONDS = 60.0

work = Work.ordered()
source = export_onnx(work.net().eval(), work.place("source", ".onnx"))
calibration = nncf.Dataset([as_arrays(x) for x in work.calibration()])
model_type = nncf.ModelType.TRANSFORMER if work.is_transformer else None


def read() -> ov.Model:
    return ov.Core().read_model(source)


def keep(name: str, model: ov.Model, note: str = "") -> None:
    path = work.place(name, ".xml")
    ov.save_model(model, path, compress_to_fp16=False)
    work.deliver(name, path, "openvino", note=note)


for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
    for fast in (True, False):
        if work.seconds_left < 30:
            break
        name = f"int8 {preset.value}{'' if fast else ', full bias correction'}"
        options = {"preset": preset, "model_type": model_type, "fast_bias_correction": fast}
        keep(name, nncf.quantize(read(), calibration, **options))

if work.is_transformer:
    keep("weights int8", nncf.compress_weights(read(), mode=nncf.CompressWeightsMode.INT8_ASYM))
    for group in (64, 32):  # 128 does not divide the widths here
        mode = nncf.CompressWeightsMode.INT4_SYM
        keep(f"weights int4, groups of {group}", nncf.compress_weights(read(), mode=mode, group_size=group))

if not work.latency_only:
    task = work.bundle.task
    items = [
        (tuple(x[i : i + 1] for x in inputs), targets[i : i + 1])
        for inputs, targets in map(split, task.val)
        for i in range(len(targets))
    ]

    def validate(compiled: ov.CompiledModel, batches: object) -> tuple[float, None]:
        def run(*inputs: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.array(compiled(as_arrays(inputs))[0]))

        return work.score(run, batches), None

    drop = nncf.DropType.ABSOLUTE if task.drop == "absolute" else nncf.DropType.RELATIVE
    chosen = items[:: max(1, len(items) // 1000)]
    controlled = nncf.quantize_with_accuracy_control(
        read(), calibration, nncf.Dataset(chosen, lambda item: as_arrays(item[0])), validate,
        max_drop=work.max_drop, drop_type=drop, model_type=model_type,
    )  # fmt: skip
    keep("int8, accuracy control", controlled)

    if work.seconds_left > 40:
        module, example = work.module()
        given = [inputs if len(inputs) > 1 else inputs[0] for inputs in work.calibration()]
        preset = nncf.QuantizationPreset.MIXED
        aware = nncf.quantize(module, nncf.Dataset(given), preset=preset, model_type=model_type)
        work.fine_tune(aware, min(TRAINING_SECONDS, work.seconds_left - 30), pace=0.01)
        shapes = [ov.PartialShape([-1, *x.shape[1:]]) for x in example]
        keep("int8, aware training", ov.convert_model(aware, example_input=example, input=shapes))
