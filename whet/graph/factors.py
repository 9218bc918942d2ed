"""Layers that a chain of smaller ones has taken the place of, and how one takes it."""

from __future__ import annotations

from collections.abc import Mapping

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
