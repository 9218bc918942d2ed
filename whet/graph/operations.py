"""`Operations`: the multiply-accumulates of any decision, from those of single choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.run import Run
from whet.core.space import Decision, Space, Value

REST = ""
"""The name under which what no layer does is counted."""


class Operations:
    """Forecasts how many floating-point operations decisions leave, without building their networks.

    What a layer does is a product of how much of it reads, writes and stays, so with `o_l` its operations in the
    untouched network and `r_l` its share of them where a choice alone takes a value,

        operations(decision) = sum_l o_l prod_choices r_l(choice, value),

    exact where no two choices cut the same dimension. The shares of a choice are in `known`, by layer for each of its
    values, or one network is built for each value.
    """

    def __init__(
        self, net: Net, passes: Pass, space: Space, run: Run,
        known: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    ) -> None:  # fmt: skip
        own = operations_by_layer(net)
        self.own: NDArray[np.float64] = np.array(list(own.values()), dtype=np.float64)
        self.shares: dict[tuple[str, Value], NDArray[np.float64]] = {}
        for choice in space:
            for value in choice.values:
                if known is not None and choice.name in known:
                    layers = known[choice.name][choice.values.index(value)]
                    self.shares[choice.name, value] = np.array([layers.get(name, 1.0) for name in own])
                elif value != choice.identity:
                    cut = operations_by_layer(passes.apply(net, Decision({choice.name: value}), run).net)
                    left = [cut.get(name, 0) / max(count, 1) for name, count in own.items()]
                    self.shares[choice.name, value] = np.array(left)

    def __call__(self, decision: Mapping[str, Value]) -> float:
        """Return the operations of one evaluation of the example; choices that are not of the space do not count."""
        left = self.own.copy()
        for key in decision.items():
            left *= self.shares.get(key, 1.0)
        return float(left.sum())


def total_operations(net: Net) -> int:
    """Return the floating-point operations of one evaluation of the example."""
    return sum(operations_by_layer(net).values())


def operations_by_layer(net: Net) -> dict[str, int]:
    """Return the floating-point operations of each layer that has some, by name, and of all that is in none."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*net.example)
    totals = {name: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
    names = net.layers()
    found = {path.partition(".")[2]: count for path, count in totals.items() if path.partition(".")[2] in names}
    return found | {REST: totals.get("Global", 0) - sum(found.values())}
