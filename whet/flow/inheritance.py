"""Which trained weights a candidate begins with: those of a trial whose structure it extends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.builder import Builder

PARENTS = 3
"""How many trials are tried as the one that a candidate extends."""


def inherit(builder: Builder, trials: Iterable[Trial], decision: Decision, net: Net) -> tuple[Net, Trial | None]:
    """Start `net` from the longest trained trial whose structure `decision` only extends.

    The remaining choices are applied to that trial's net. The result is taken only if its graph is the same
    as that of `net`: then it is the same candidate with better weights. Returns the net and the trial.
    """
    names = set(builder.space.choices)
    own = {n: v for n, v in decision.items() if n in names}
    trained = (t for t in trials if t.state is not None and set(t.decision) <= names)
    parents = [t for t in trained if all(own.get(n) == v for n, v in t.decision.items())]
    parents.sort(key=lambda t: -t.samples)
    same = [t for t in parents[PARENTS:] if len(t.decision) == len(own)]
    for parent in parents[:PARENTS] + same[:1]:
        rest = Decision({n: v for n, v in own.items() if n not in parent.decision})
        if not rest:
            return builder.rebuild(parent), parent
        whole = builder.rebuild(parent)
        child = Chain(builder.request.passes).apply(whole, rest, builder.run)
        if same_graph(child.net, net):
            return builder.repaired(child, whole).net, parent
    return net, None


def same_graph(a: Net, b: Net) -> bool:
    """Say whether two nets have the same code and the same tensor shapes."""
    if a.module.code != b.module.code:
        return False
    shapes = [{n: tuple(t.shape) for n, t in x.module.state_dict().items()} for x in (a, b)]
    attributes = [{n: repr(m) for n, m in x.layers().items()} for x in (a, b)]
    constants = [{n.target: _attribute(x, str(n.target)) for n in x.graph.nodes if n.op == "get_attr"} for x in (a, b)]
    equal = shapes[0] == shapes[1] and attributes[0] == attributes[1] and constants[0].keys() == constants[1].keys()
    return equal and all(v.is_floating_point() or torch.equal(v, constants[1][k]) for k, v in constants[0].items())


def _attribute(net: Net, name: str) -> Tensor:
    value: Any = net.module
    for part in name.split("."):
        value = getattr(value, part)
    return torch.as_tensor(value)
