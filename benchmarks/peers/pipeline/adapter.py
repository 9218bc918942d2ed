"""The obvious pipeline: prune, fine-tune, quantize; the ratio by hand from a quarter and a half."""

import torch_pruning as tp

from whet.bench.peers.pruning import pruned
from whet.bench.peers.serving import serve
from whet.bench.peers.work import Work

work = Work.ordered()
for left, ratio in ((2, 0.25), (1, 0.5)):
    module = pruned(work, ratio, tp.importance.GroupMagnitudeImportance(p=2))
    if not work.latency_only:
        work.fine_tune(module, max(2.0, work.seconds_left / left - 10))
    serve(work, f"{ratio:.0%} of channels off", module)
