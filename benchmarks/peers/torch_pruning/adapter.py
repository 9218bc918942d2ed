"""torch-pruning: structured pruning at several ratios with its usual importances, fine-tuned, served as bf16 and int8.

The budget is shared equally; fine-tuning is whet's own loop with distillation, at least what its examples do.
"""

import torch_pruning as tp

from whet.bench.peers.pruning import pruned
from whet.bench.peers.serving import serve
from whet.bench.peers.work import Work

work = Work.ordered()
importances = {"L2": tp.importance.GroupMagnitudeImportance(p=2)}
if not work.is_transformer and not work.latency_only and work.task != "protein":
    importances["batch-norm scale"] = tp.importance.BNScaleImportance()
ratios = (0.25, 0.5, 0.75)
plans = [(ratio, name) for ratio in ratios for name in importances]
for index, (ratio, name) in enumerate(plans):
    module = pruned(work, ratio, importances[name])
    if not work.latency_only:
        share = work.seconds_left / (len(plans) - index)
        if share < 15:
            break
        work.fine_tune(module, share - 10)
    serve(work, f"{ratio:.0%} of channels off, {name}", module)
