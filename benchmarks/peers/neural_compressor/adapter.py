"""neural-compressor: static post-training quantization through PT2E with its accuracy-driven tuning."""

import torch
from neural_compressor.torch.quantization import StaticQuantConfig, TuningConfig, autotune

from whet.bench.peers.inductor import compiled
from whet.bench.peers.work import Work

work = Work.ordered()
module, example = work.module()
batch = ({0: torch.export.Dim("batch", min=1, max=65536)},) * len(example)
# Its own `export` calls a function that this torch no longer has; it marks the graph like this.
exported = torch.export.export(module, example, dynamic_shapes=batch).module()
exported._exported, exported.dynamic_shapes = True, batch


def calibrate(model: torch.nn.Module) -> None:
    for inputs in work.calibration():
        model(*inputs)


def score(model: torch.nn.Module) -> float:
    # Its report divides by the score.
    return 1.0 if work.latency_only else work.score(model)


config = TuningConfig(
    config_set=[StaticQuantConfig.get_config_set_for_tuning()], tolerable_loss=work.max_drop, max_trials=8
)
best = autotune(exported, config, score, run_fn=calibrate, example_inputs=example)
path, note = compiled(work, "static int8, tuned", best, example)
work.deliver("static int8, tuned", path, "inductor", "f32", note)
