"""A run without a device, for tests of passes: data made up for a net's example inputs, and an alignment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task, accuracy
from whet.support.structure import Tree, tensors


@dataclass(frozen=True)
class AlignedTarget:
    """What passes ask of a target when they plan: an alignment, and which integers it loads."""

    alignment: int = 16
    name: str = "nowhere"
    weight_bits: int = 8

    def kernels(self) -> tuple[str, ...]:
        """Return the integers that weights may be stored as, and computed with."""
        return "int8", "int4", "dynamic int8"


def classification(net: Net, batches: int = 4, batch: int = 8, seed: int = 0) -> Task:
    """Return a task of random inputs, shaped as the net's example, with random labels for its first output."""
    generator = torch.Generator().manual_seed(seed)
    classes = tensors(net(*net.example))[0].shape[-1]

    def sample(example: Tensor) -> Tensor:
        shape = (batch, *example.shape[1:])
        if example.is_floating_point():
            return torch.randn(shape, generator=generator)
        return torch.randint(0, int(example.max()) + 1, shape, generator=generator)

    data = [
        (tuple(map(sample, net.example)), torch.randint(0, classes, (batch,), generator=generator))
        for _ in range(batches)
    ]
    return Task("made up", train=data, val=data, loss=_loss, metric=_accuracy, calibration=data)


def _loss(outputs: Tree, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the first output; the others count by their size, so that all have a gradient."""
    first, *others = tensors(outputs)
    return F.cross_entropy(first, targets) + sum((0.01 * x.square().mean() for x in others), torch.zeros(()))


def _accuracy(outputs: Tree, targets: Tensor) -> float:
    return accuracy(tensors(outputs)[0], targets)


def planning_run(net: Net, alignment: int = 16, seed: int = 0) -> Run:
    """Return a run that passes can plan with; it cannot train, compile or measure."""
    return Run(classification(net, seed=seed), AlignedTarget(alignment), seed=seed)  # type: ignore[arg-type]
