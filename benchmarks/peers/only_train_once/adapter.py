"""only_train_once: one training with HESSO, which removes the least important groups while it trains."""

import torch
from only_train_once import OTO

from whet.bench.peers.serving import serve
from whet.bench.peers.work import Work
from whet.core.task import split

work = Work.ordered()
if work.latency_only:
    raise SystemExit("Error: it prunes while it trains; there is nothing to train here")
for left, sparsity in ((2, 0.3), (1, 0.5)):
    module, example = work.module()
    oto = OTO(model=module.train(), dummy_input=example[0])
    seconds = work.seconds_left / left - 15
    steps = max(50, int(seconds * 10))
    optimizer = oto.hesso(
        variant="sgd", lr=0.05, weight_decay=5e-4, target_group_sparsity=sparsity,
        start_pruning_step=steps // 10, pruning_periods=5, pruning_steps=steps // 4,
    )  # fmt: skip
    end, epoch = work.seconds_left - seconds, 0
    while work.seconds_left > end:
        for batch in work.bundle.task.train.at_epoch(epoch):
            inputs, targets = split(batch)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outputs = module(*inputs)
            work.bundle.task.loss(outputs.float(), targets).backward()
            optimizer.step()
            if work.seconds_left <= end:
                break
        epoch += 1
    folder = work.place(f"group sparsity {sparsity:.0%}", "").parent
    oto.construct_subnet(out_dir=str(folder))
    smaller = torch.load(oto.compressed_model_path, weights_only=False)  # written a moment ago by this process
    serve(work, f"group sparsity {sparsity:.0%}", smaller)
