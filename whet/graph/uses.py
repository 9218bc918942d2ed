"""Which layers a graph uses in one place only, so that their weights may be changed without changing anything else."""

from __future__ import annotations

from collections import Counter

from whet.core.net import Net


def used_once(net: Net) -> set[str]:
    """Return the paths of the layers that are called once, and whose tensors nothing else reads or shares.

    >>> from torch import nn, zeros
    >>> from whet.graph.lift import lift
    >>> shared = nn.Linear(2, 2)
    >>> sorted(used_once(lift(nn.Sequential(shared, nn.Linear(2, 2), shared), (zeros(2, 2),))))
    ['1']
    """
    calls = Counter(str(node.target) for node in net.graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in net.graph.nodes if node.op == "get_attr"}
    modules = [module for _, module in net.module.named_modules(remove_duplicate=False)]
    owners = Counter(id(p) for module in modules for p in module._parameters.values() if p is not None)
    return {
        path
        for path, count in calls.items()
        if count == 1 and path not in read and all(owners[id(p)] == 1 for p in net.layer(path).parameters())
    }
