"""torch-pruning as its README shows it, for its own row and for the obvious pipeline."""

from __future__ import annotations

from typing import Any

from torch import nn

from whet.bench.peers.work import Work
from whet.networks.resnet import Block, ResNet


def pruned(work: Work, ratio: float, importance: Any) -> nn.Module:
    """Return the trained network with `ratio` of its channels removed, the output layer spared.

    Channels stay multiples of 8, as its README advises for speed. In transformers the heads stay: their fused
    projections are spared and the feed-forward layers are pruned. In ResNets whose shortcuts pad channels with zeros
    the channels of the residual stream stay, as it does not follow padding (IndexError): those inside blocks go.
    """
    import torch_pruning as tp

    module, example = work.module()
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    spared: list[nn.Module] = [*linears[-1:]]
    if work.is_transformer:
        width = next(m for m in module.modules() if isinstance(m, nn.LayerNorm)).normalized_shape[0]
        spared += [m for m in linears if not (m.in_features == width and m.out_features > width)]
        spared += [m for m in linears if m.out_features == 3 * width]
        spared += [m for m in module.modules() if isinstance(m, nn.Embedding)]
    if any(isinstance(m, ResNet) for m in module.modules()):
        inside = {id(block.conv1) for block in module.modules() if isinstance(block, Block)}
        spared += [m for m in module.modules() if isinstance(m, nn.Conv2d) and id(m) not in inside]
    inputs = example[0] if len(example) == 1 else example
    pruner = tp.pruner.BasePruner(
        module, inputs, importance=importance, pruning_ratio=ratio, ignored_layers=spared, round_to=8,
        global_pruning=False,
    )  # fmt: skip
    pruner.step()
    return module
