"""Layers that a chain of smaller ones has taken the place of, and how one takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from whet.core.net import Net

FIRST, SECOND = "reduce", "expand"
"""The first and the last of a chain: what comes out of `SITE.reduce` are the components that `SITE.expand` reads."""


def put_chain(net: Net, site: str, layers: Mapping[str, nn.Module]) -> None:
    """Put layers, in their order, in the place of one, in place: `SITE.NAME` each, in the mode that it was in.

    What the layer holds is gone; it is the caller's to settle the net.
    """
    before, chain = net.layer(site), nn.Module()
    for name, layer in layers.items():
        chain.add_module(name, layer.train(before.training))
    net.module.set_submodule(site, chain)
    *inner, last = layers
    for node in [n for n in net.graph.nodes if n.op == "call_module" and n.target == site]:
        for name in inner:
            with net.graph.inserting_before(node):
                call = net.graph.call_module(f"{site}.{name}", node.args, node.kwargs)
            call.meta = dict(node.meta)
            node.args, node.kwargs = (call,), {}
        node.target = f"{site}.{last}"


def chained(net: Net) -> list[str]:
    """Return the sites that have a chain in their place, in the order of the net's layers.

    >>> import torch, whet
    >>> net = whet.lift(nn.Sequential(nn.Linear(4, 3)).eval(), (torch.randn(2, 4),))
    >>> put_chain(net, "0", {FIRST: nn.Linear(4, 1, bias=False), SECOND: nn.Linear(1, 3)})
    >>> chained(net.settle())
    ['0']
    """
    names = net.layers()
    sites = [name.removesuffix(f".{FIRST}") for name in names if name.endswith(f".{FIRST}")]
    return [site for site in sites if f"{site}.{SECOND}" in names]


def aligned(even: float, fraction: float, fractions: Sequence[float], step: int, most: int) -> int:
    """Return the rank of a fraction of the one at which a chain costs what the layer did: halves round up.

    Ranks are multiples of `step`, halved until the smallest of the `fractions` has a step at least, and `most` at most.

    >>> [aligned(100.0, q, (0.25, 0.5), 8, 64) for q in (0.25, 0.5, 0.75)], aligned(12.0, 0.25, (0.25,), 8, 64)
    ([24, 48, 64], 4)
    """
    while step > 1 and step > min(fractions) * even:
        step //= 2
    return min(most, step * max(1, int(fraction * even / step + 0.5)))
