"""torchao: PT2E with the x86 inductor quantizer, and `quantize_` dynamic and weight-only, compiled by inductor."""

import torch
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from whet.bench.peers.inductor import compiled
from whet.bench.peers.work import Work

work = Work.ordered()
module, example = work.module()
batch = ({0: torch.export.Dim("batch", min=1, max=65536)},) * len(example)


def static() -> torch.nn.Module:
    captured = torch.export.export(module, example, dynamic_shapes=batch).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    for inputs in work.calibration():
        prepared(*inputs)
    return convert_pt2e(prepared)


def eager(config: object) -> torch.nn.Module:
    fresh, _ = work.module()
    quantize_(fresh, config)
    return fresh


ways = {
    "PT2E static int8": static,
    "dynamic int8": lambda: eager(Int8DynamicActivationInt8WeightConfig()),
    "weight-only int8": lambda: eager(Int8WeightOnlyConfig()),
}
failures = []
for name, make in ways.items():
    try:
        path, note = compiled(work, name, make(), example)
        work.deliver(name, path, "inductor", "f32", note)
    except Exception as error:  # one way's failure must not hide the others; it ends the process below
        failures.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
if failures:
    raise SystemExit("Error: " + "; ".join(failures))
