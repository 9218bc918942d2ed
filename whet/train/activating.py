"""Activating while pruning: what goes are also weights that hold neurons back, so that fewer of them are dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from whet.core.net import Net
from whet.graph.rows import operator_name
from whet.graph.zeros import least

DEAD = ("relu", "relu6")


def activated(
    after: Mapping[str, Tensor], before: Mapping[str, Tensor], left: Mapping[str, Tensor], count: int
) -> dict[str, Tensor]:
    """Return masks without `count` more weights: the negative ones that a training has moved least.

        gone = the count smallest |w - w_0| of all layers together, among w < 0 that are left

    Weights `after` a training and `before` it by layer, and masks of what is left, are of the same shapes. What reads
    outputs of rectifiers, which are never negative, gives no smaller sums without a negative weight: no neuron dies of
    it, and some that were dead begin to learn. Where fewer are negative, all of these go; of equal ones the first.
    It is a companion of another way of pruning (`whet.train.tickets`), which takes most of the weights; the share of
    both is told there.

    The rule is that of the authors' code, since the text was at hand as an abstract alone.

    Paper: Liu et al. 2023, AP: Selective Activation for De-sparsifying Pruned Networks.

    >>> activated({"a": torch.tensor([-1.0, -2.0, 0.1])}, {"a": torch.tensor([-1.1, -1.0, 0.1])},
    ...           {"a": torch.tensor([True, True, True])}, 1)
    {'a': tensor([False,  True,  True])}
    """
    moved = {
        n: torch.where(mask & (after[n] < 0), (after[n] - before[n]).abs(), torch.inf).detach()
        for n, mask in left.items()
    }
    negative = sum(int(m.isfinite().sum()) for m in moved.values())
    gone = least(moved, min(count, negative))
    return {n: mask & ~gone[n] for n, mask in left.items()}


@torch.no_grad()
def dead_share(net: Net, inputs: Iterable[tuple[Tensor, ...]]) -> float | None:
    """Return the share of rectifiers that give zero, the mean over samples in eval mode: the dynamic dead neuron rate.

    Inputs are batches `(rows, ...)` as the network takes them. Every position of a map of a convolution is one. None
    where the network has no rectifiers, or there are no inputs.
    """
    walk = _Rectifiers(net.module)
    with net.evaluating():
        for given in inputs:
            walk.run(*given)
    return walk.dead / walk.count if walk.count else None


class _Rectifiers(fx.Interpreter):
    """Count what rectifiers give on the way."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.dead = self.count = 0

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if n.op == "call_function" and operator_name(n.target).rstrip("_") in DEAD and isinstance(out, Tensor):
            self.dead += int((out == 0).sum())
            self.count += out.numel()
        return out
