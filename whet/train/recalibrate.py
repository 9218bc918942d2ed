"""Batch-norm statistics, estimated again after weights changed."""

from __future__ import annotations

import torch
from torch import nn

from whet.core.net import Net
from whet.core.task import Batches, first_inputs, rows_of
from whet.train.state import module_of

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def recalibrate(net: Net | nn.Module, batches: Batches, samples: int = 512) -> int:
    """Re-estimate running means and variances as plain averages over batches, in place; return the samples seen.

    With momentum `1/t` at batch t the running statistics are the mean of the batches' own (Yu and Huang 2019,
    Universally Slimmable Networks, post-statistics). A network without batch norms is left as it is, unread.
    """
    module = module_of(net)
    norms = [m for m in module.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is not None]
    if not norms:
        return 0
    before = [m.momentum for m in norms]
    module.eval()
    for m in norms:
        m.reset_running_stats()
        m.train()
        m.momentum = None  # torch's sign for a cumulative average
    seen = 0
    for inputs in first_inputs(batches, samples):
        module(*inputs)
        seen += rows_of(inputs)
    for m, momentum in zip(norms, before, strict=True):
        m.momentum = momentum
    module.eval()
    return seen
